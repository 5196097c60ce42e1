"""What the archive's benchmarks compute, the plan's table on its page among it; none of them starts Ray here."""

from __future__ import annotations

import shlex
from pathlib import Path

import pydicom
import pytest
import typer
from page_commands import blocks
from typer.testing import CliRunner

from medclipsam_monai.io import find_inputs
from tools.benchmarks.archive import plan
from tools.benchmarks.archive.header_scan import write_archive
from tools.benchmarks.archive.plan import Costs, hours
from tools.benchmarks.archive.watched import Look, Watched
from tools.benchmarks.archive.workers import gain

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "archive_plan.md"
COSTS = Costs(3.6, finding_ms=1, driver_ms=36, driver_bytes=4000, output_bytes=9000, output_files=2, table_bytes=300)


@pytest.mark.parametrize(("machines", "cores", "expected"), [(1, 1, 10.0), (5, 2, 1.0), (100, 32, 0.1)])
def test_an_archive_takes_as_long_as_its_processors_or_its_one_driver(machines, cores, expected):
    assert hours(COSTS, 10_000, machines, cores) == pytest.approx(expected)


def test_the_table_of_the_page_is_what_its_command_prints():
    (command,) = [
        line
        for block in blocks(PAGE, "console")
        for line in block.replace("\\\n", " ").splitlines()
        if "plan --" in line
    ]
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", plan.__name__]
    app = typer.Typer()
    app.command()(plan.main)
    result = CliRunner().invoke(app, words[3:])
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 5 and result.stdout in PAGE.read_text(encoding="utf-8")


def test_the_files_of_the_header_scan_are_series_of_different_slices_without_room_for_pixels(tmp_path):
    assert write_archive(tmp_path, series=3, slices=2) == 6
    assert [len(source.paths) for source in find_inputs([tmp_path])] == [2, 2, 2]
    files = list(tmp_path.rglob("IM*"))
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
    assert [len({header[name].value for header in headers}) for name in ("SOPInstanceUID", "StudyInstanceUID")] == [
        6,
        2,
    ]
    assert all(path.stat().st_size > 500_000 > 512 * path.stat().st_blocks for path in files)


def test_what_an_image_costs_is_counted_from_where_all_are_at_work():
    looks = [
        Look(10, 0, {"driver": 5.0}, {"driver": 7}),
        Look(20, 4, {"driver": 6.0, "networks": 9.0}, {"driver": 8, "networks": 3}),
        Look(26, 10, {"driver": 7.2, "networks": 12.0}, {"driver": 9, "networks": 1}),
        Look(40, 10, {"driver": 99.0, "networks": 99.0}, {"driver": 1}),
    ]
    seen = Watched(0, "", looks)
    assert seen.each(0.4) == pytest.approx({"driver": 0.2, "networks": 0.5, "wall": 1.0})
    assert seen.peak is looks[1] and [seen.at(0.4), seen.at(1)] == looks[1:3]
    seen = Watched(0, "", [looks[0], looks[2]])
    assert seen.each(0.1) == pytest.approx({"driver": 0.22, "networks": 1.2, "wall": 1.6}), "done between two looks"


@pytest.mark.parametrize(
    ("networks", "others", "expected"), [(1.0, 0.0, 2.0), (1.0, 0.25, 1.6), (1.0, 1.0, 1.0), (1.0, 3.0, 1.0)]
)
def test_two_workers_win_what_reading_and_writing_leave_of_two_cores(networks, others, expected):
    assert gain({"networks": networks, "readers and writers": others, "wall": 9.0}) == pytest.approx(expected)
