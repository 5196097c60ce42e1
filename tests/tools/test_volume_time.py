"""The benchmark of a volume's time: its clock, and a small run of it."""

from __future__ import annotations

import time

import pytest
import typer
from typer.testing import CliRunner

from medclipsam_monai.base.errors import InputError
from tools.benchmarks import volume_time


def test_a_function_that_calls_another_counts_once():
    clock = volume_time.Clock()
    inner = clock.timed(lambda: time.sleep(0.05))
    outer = clock.timed(lambda: (inner(), inner()))
    started = time.perf_counter()
    outer()
    whole = time.perf_counter() - started
    assert 0.1 <= clock.seconds <= whole


def test_the_clock_stops_where_a_function_fails():
    clock = volume_time.Clock()

    def fail() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        clock.timed(fail)()
    before = clock.seconds
    clock.timed(lambda: time.sleep(0.02))()
    assert clock.seconds >= before + 0.02


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
        assert 0 <= int(row[1]) <= int(row[0]) and 0 < float(row[4]) <= float(row[3]) and float(row[5]) >= 1
