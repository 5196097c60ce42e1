"""The driver, a worker or a reader, and a node killed on the way: nothing is lost, nothing twice in the table, no file
torn. A few kills of `tools.robustness.archive`, and what its checks see."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from pyarrow import parquet

from medclipsam_monai.io.tables.parquet import TABLE_FOLDER
from tools.robustness.archive.bench import ArchiveBench
from tools.robustness.archive.checks import wrong_at_the_end, wrong_on_the_way
from tools.robustness.archive.kills import KINDS, stories


@pytest.fixture(scope="module")
def bench():
    with tempfile.TemporaryDirectory(prefix="m-", ignore_cleanup_errors=True) as place:
        yield ArchiveBench(Path(place, "b"), 24).set_up()


@pytest.mark.parametrize("kind", KINDS)
def test_after_kills_all_is_there_once_and_whole(bench, kind):
    told = list(stories(kind, 2, bench, seed=1, together=2))
    assert [line for story in told for line in story.wrong] == []
    assert sum(len(story.kills) for story in told) == 2


@pytest.fixture
def folder(bench, tmp_path) -> Path:
    return Path(shutil.copytree(bench.clean, tmp_path / "out"))


def test_a_clean_run_has_nothing_wrong(bench, folder):
    assert wrong_at_the_end(folder, bench.clean) == []


def test_a_row_that_is_there_twice_or_not_at_all_is_seen(bench, folder):
    part = next((folder / TABLE_FOLDER).glob("*.parquet"))
    table = parquet.read_table(part)
    name = table.column("name")[0].as_py()
    parquet.write_table(table.slice(0, 1), part.with_name("part-99999999.parquet"))
    assert f"{name} has 2 rows" in wrong_on_the_way(folder, bench.clean)
    part.with_name("part-99999999.parquet").unlink()
    parquet.write_table(table.slice(1), part)
    assert wrong_on_the_way(folder, bench.clean) == []
    assert f"{name} has no row" in wrong_at_the_end(folder, bench.clean)


def test_a_torn_file_a_mask_of_another_image_and_what_is_left_over_are_seen(bench, folder):
    shutil.copy(folder / "x000_mask.png", folder / "x001_mask.png")
    (folder / ".medclipsam-x.part.png").touch()
    found = wrong_at_the_end(folder, bench.clean)
    assert any("x001_mask.png is of another text" in line for line in found)
    assert ".medclipsam-x.part.png is left over" in found
    next((folder / TABLE_FOLDER).glob("*.parquet")).write_bytes(b"PAR1 torn")
    assert any("cannot be read" in line for line in wrong_on_the_way(folder, bench.clean))
