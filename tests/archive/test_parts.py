"""The table's files: no image twice, whatever is added again or killed."""

from __future__ import annotations

import os

import pyarrow as pa
import pytest
from pyarrow import parquet

from medclipsam_monai.archive.parts import TableParts, schema_of
from medclipsam_monai.archive.rows import OWN
from medclipsam_monai.archive.stores.folder import FolderStore
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.tables.parquet import TABLE_FOLDER


def row(name, path=None, state="done", **more):
    return {**dict.fromkeys(OWN), "name": name, "path": path or f"{name}.png", "state": state, "age": None, **more}


@pytest.fixture
def parts(tmp_path):
    def opened():
        return TableParts(FolderStore(tmp_path), schema_of(OWN, {"age": pa.int64()}))

    (tmp_path / TABLE_FOLDER).mkdir()
    return opened


@pytest.fixture
def all_rows(tmp_path):
    def read():
        return [
            row
            for part in sorted((tmp_path / TABLE_FOLDER).glob("part-*.parquet"))
            for row in parquet.read_table(part).to_pylist()
        ]

    return read


@pytest.fixture
def rows_in(all_rows):
    return lambda: sorted((row["path"], row["name"], row["state"]) for row in all_rows())


def test_a_row_that_comes_again_takes_the_place_of_the_old_one(parts, rows_in):
    table = parts()
    table.add([row("a"), row("b", state="failed")])
    table.add([row("c")])
    assert row("a") in table and row("a", age=3) not in table
    again = parts()
    again.add([row("b"), row("c", age=7)])
    assert rows_in() == [("a.png", "a", "done"), ("b.png", "b", "done"), ("c.png", "c", "done")]
    assert row("c", age=7) in parts() and row("a") in parts()


def test_a_row_is_known_again_whatever_numbers_it_was_made_of(parts):
    made = row("a", seconds=2, classes=[{"name": "lungs", "presence": None, "size": 4, "unit": "pixels"}])
    parts().add([made])
    assert made in parts() and {**made, "seconds": 3} not in parts()


def test_a_path_that_was_gone_and_is_there_again_has_one_row(parts, rows_in):
    table = parts()
    table.add([row(None, "a.png", "failed"), row("b")])
    table.add([row("a")])
    assert rows_in() == [("a.png", "a", "done"), ("b.png", "b", "done")]
    table.add([row(None, "a.png", "failed")])
    assert rows_in() == [("a.png", None, "failed"), ("b.png", "b", "done")]


def test_several_series_of_one_folder_have_a_row_each(parts, rows_in):
    table = parts()
    table.add([row("x_1", "x")])
    table.add([row("x_2", "x")])
    assert rows_in() == [("x", "x_1", "done"), ("x", "x_2", "done")]


@pytest.mark.parametrize("killed_at", range(3))
def test_killed_at_any_rename_no_row_is_twice_and_the_next_run_has_all(parts, all_rows, monkeypatch, killed_at):
    parts().add([row("a"), row("b"), row("c")])
    parts().add([row("d"), row("e")])
    new = [row("b", age=1), row("d", age=1), row("f", age=1)]
    renames, real = iter(range(100)), os.replace

    def killed(*paths):
        if next(renames) == killed_at:
            raise KeyboardInterrupt
        real(*paths)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", killed)
        parts().add(new)
    names = [one["name"] for one in all_rows()]
    assert len(names) == len(set(names)) and {"a", "c", "e"} <= set(names)
    table = parts()
    table.add([one for one in new if one not in table])
    assert sorted((one["name"], one["age"]) for one in all_rows()) == [
        ("a", None),
        ("b", 1),
        ("c", None),
        ("d", 1),
        ("e", None),
        ("f", 1),
    ]


def test_a_table_of_other_columns_or_a_torn_file_is_refused(parts, tmp_path):
    parts().add([row("a")])
    with pytest.raises(InputError, match="has other columns"):
        TableParts(FolderStore(tmp_path), schema_of(OWN, {}))
    next((tmp_path / TABLE_FOLDER).glob("part-*.parquet")).write_bytes(b"PAR1")
    with pytest.raises(InputError, match="is no whole Parquet file; delete it"):
        parts()


def test_other_files_in_the_folder_are_none_of_the_table(parts, rows_in, tmp_path):
    for name in ("part-x.parquet", "part-0000000١.parquet", "other.parquet"):
        (tmp_path / TABLE_FOLDER / name).write_bytes(b"no table")
    parts().add([row("a")])
    parts().add([row("b")])
    for name in ("part-x.parquet", "part-0000000١.parquet"):
        (tmp_path / TABLE_FOLDER / name).unlink()
    assert [name for _, name, _ in rows_in()] == ["a", "b"]
