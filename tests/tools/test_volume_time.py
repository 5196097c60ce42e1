"""The benchmark of a volume's time: its clock, and a small run of it."""

from __future__ import annotations

import threading
import time

import pytest
import typer
from typer.testing import CliRunner

from medclipsam_monai.base.errors import InputError
from tools.benchmarks import volume_time


def test_a_function_that_calls_another_counts_once():
    spent: list[float] = []
    clock = volume_time.Clock(spent)
    inner = clock.timed(lambda: time.sleep(0.05))
    outer = clock.timed(lambda: (inner(), inner()))
    started = time.perf_counter()
    outer()
    whole = time.perf_counter() - started
    assert len(spent) == 1 and 0.1 <= spent[0] <= whole


def test_threads_count_beside_each_other():
    spent: list[float] = []
    timed = volume_time.Clock(spent).timed(lambda: time.sleep(0.05))
    outer = volume_time.Clock(spent).timed(lambda: [thread.join() for thread in threads])
    threads = [threading.Thread(target=timed) for _ in range(2)]
    for thread in threads:
        thread.start()
    outer()
    assert len(spent) == 3 and min(spent[:2]) >= 0.05


def test_the_clock_stops_where_a_function_fails():
    spent: list[float] = []
    clock = volume_time.Clock(spent)

    def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        clock.timed(fail)()
    clock.timed(lambda: time.sleep(0.02))()
    assert len(spent) == 2 and spent[1] >= 0.02


@pytest.mark.parametrize("text", ["", "0", "1,x", "4,,5", "-2"])
def test_what_is_no_list_of_numbers_is_refused(text):
    with pytest.raises(InputError, match="--depths must be positive whole numbers with commas between them, got"):
        volume_time.numbers(text, "--depths")


@pytest.mark.slow
def test_a_small_run_prints_a_row_a_batch_and_a_depth():
    app = typer.Typer()
    app.command()(volume_time.main)
    result = CliRunner().invoke(app, ["--side", "64", "--depths", "8,9", "--batches", "1,4", "--text", "lungs"])
    assert result.exit_code == 0, result.output
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in result.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == ["8", "8", "9"] and [row[2] for row in rows] == ["1", "4", "4"]
    for row in rows:
        assert 0 <= int(row[1]) <= int(row[0]) and float(row[4]) > 0 and float(row[3]) > 0
        assert float(row[5]) >= 0.5, "two threads at most"
