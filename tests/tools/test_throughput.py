"""The benchmark of folders: its pictures, its table, and a small run of it and of the one of memory."""

from __future__ import annotations

import re

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from tools.benchmarks.throughput import memory, run
from tools.benchmarks.throughput.pictures import SIZES, draw_pictures


def invoked(main, *words) -> list[str]:
    """What a benchmark prints, line by line."""
    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def test_pictures_are_the_same_whenever_they_are_drawn_and_of_several_sizes(tmp_path):
    files = draw_pictures(tmp_path / "a", 41, [(32, 24), (24, 32)])
    assert [path.name for path in files[:2]] == ["00000.png", "00001.png"]
    shapes = [np.asarray(Image.open(path)).shape for path in files]
    assert shapes == [(32, 24)] * 20 + [(24, 32)] * 20 + [(32, 24)]
    again = draw_pictures(tmp_path / "b", 2, [(32, 24)])
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files[:2]]
    assert files[0].read_bytes() != files[1].read_bytes() and len(set(SIZES)) == 3


def test_the_table_compares_with_the_networks_and_with_what_was():
    walls = {"networks": 0.1, "together": 0.05, "before": 0.2, "segment": 0.125}
    lines = run.table({name: run.Spent(wall, 2 * wall) for name, wall in walls.items()}).splitlines()
    assert lines[-1] == "| segment | 0.1250 | 8.0 | 0.2500 | 0.80 | 1.60 |"


def test_a_time_in_which_something_failed_says_nothing():
    with pytest.raises(RuntimeError, match="4 of 5 pictures were segmented"):
        run.check(5, 4)


def test_a_small_run_prints_a_row_a_way(tiny_preset):
    lines = invoked(run.main, "--count", 5, "--preset", tiny_preset, "--device", "cpu")
    rows = [line for line in lines if re.fullmatch(r"\| .* \| \d+\.\d{4} \| .* \|", line)]
    assert len(rows) == 5 and rows[-1].startswith("| segment --batch 8 |")


def test_the_peak_is_told_after_each_tenth(tiny_preset):
    peaks = [float(line.split()[2]) for line in invoked(memory.main, "--count", 10, "--preset", tiny_preset)]
    assert len(peaks) == 10 and peaks == sorted(peaks) and peaks[0] > 100
