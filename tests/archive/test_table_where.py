"""An expression over an archive's table: what it holds for, and that it reaches nothing else."""

from __future__ import annotations

import sys

import pyarrow as pa
import pytest
from archive_files import of_class
from pyarrow import parquet

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.tables import parquet as tables
from medclipsam_monai.io.tables.parquet import read_parquet
from medclipsam_monai.io.tables.where import rows_where

ROWS = pa.Table.from_pylist(
    [
        {"name": "both", "patient": "p1", "classes": [of_class(), of_class("heart", presence=0.5)]},
        {"name": "absent", "patient": "p2", "classes": [of_class(), of_class("heart", presence=0.1, fraction=0.0)]},
        {"name": "untold", "patient": "p2", "classes": [of_class(presence=None)]},
        {"name": "nothing", "patient": "p3", "classes": [of_class(fraction=0.0)]},
        {"name": "failed", "patient": None, "classes": None},
    ]
)


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("presence > 0.9 and quality > 0.8", ["absent"]),
        ("presence > 0.9 or presence is null", ["absent", "untold"]),
        ("presence > 0.9 or class = 'heart'", ["both", "absent"]),
        ("class in ('lungs') and size < 5", ["absent", "untold"]),
        ("quality > 0.8 and patient <> 'p2'", ["both"]),
        ("patient = 'p2'", ["absent", "untold"]),
        ("patient is null or name like 'no%'", ["nothing", "failed"]),
        ("quality > 2", []),
    ],
)
def test_figures_must_hold_for_each_class_that_was_found_and_columns_for_the_row(where, names):
    held = rows_where(ROWS, where, "table")
    assert ROWS.filter(held)["name"].to_pylist() == names


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("presense > 0.9", 'Referenced column "presense" not found'),
        ("presence >", "syntax error"),
        ("presence", "expected one question of yes or no"),
        ("presence > 0.9, 1 = 1", "expected one question of yes or no"),
        ("1 = 1) or (1 = 1", "syntax error"),
        ("1 = 1; select 1", "cannot be used"),
        ("presence = 'high'", "Could not convert string 'high'"),
        ("count(*) > 1", "ggregates"),
        ("(select count(*) from read_text('{file}')) > 0", "disabled"),
        ("(select count(*) from '{file}') > 0", "cannot be used"),
        ("(select count(*) from secret) > 0", "Table with name secret does not exist"),
        ("__import__('os').getcwd() <> ''", "cannot be used"),
        ("st_point(1, 2) is null", "spatial"),
        ("  ", "where must be an expression"),
        (0.9, "where must be an expression"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_nothing_else_is_reached(where, words, tmp_path):
    secret = pa.table({"a": [1]})  # a name of Python's, which DuckDB would look up by itself
    parquet.write_table(secret, tmp_path / "secret.parquet")
    where = where.format(file=tmp_path / "secret.parquet") if isinstance(where, str) else where
    with pytest.raises(InputError) as caught:
        rows_where(ROWS, where, "table")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_column_with_the_name_of_a_figure_is_told_apart_by_nobody():
    table = ROWS.append_column("size", pa.array(range(5)))
    with pytest.raises(InputError, match="'size' is a column of the table and a figure of its classes"):
        rows_where(table, "size > 3", "table")
    assert rows_where(table, "quality > 0.8", "table").sum() == 3


@pytest.mark.parametrize("where", ["presence > 0.9", "PRESENCE > 0.9", '"Presence" > 0.9'])
def test_capitals_do_not_tell_a_column_from_a_figure(where):
    table = ROWS.append_column("Presence", pa.array([0.0, 1.0, 1.0, 1.0, 1.0]))
    with pytest.raises(InputError, match="'Presence' is a column of the table and a figure of its classes"):
        rows_where(table, where, "table")
    assert table.filter(rows_where(table, "quality > 0.8 and size < 5", "table"))["name"].to_pylist() == [
        "both",
        "absent",
        "untold",
    ]


@pytest.mark.parametrize("where", ["patient = 'p1'", "PATIENT = 'p1'", "patient = 'p1' and quality > 0.8"])
def test_two_columns_that_differ_in_capitals_are_told_apart_by_nobody(where):
    table = ROWS.append_column("Patient", pa.array(["p2", "p1", "p1", "p1", "p1"]))
    with pytest.raises(InputError, match="the columns 'patient' and 'Patient' differ only in capitals"):
        rows_where(table, where, "table")
    assert rows_where(table, "name = 'both'", "table").tolist() == [True, False, False, False, False]


@pytest.mark.parametrize("where", ["patient = 'p2'", "size < 5 and patient = 'p2'"])
def test_no_column_of_the_table_stands_for_the_numbers_of_its_rows(where):
    table = ROWS
    for name in ("medclipsam_row", "MedCLIPSAM_Row_"):
        table = table.append_column(name, pa.array([9, 0, 0, 0, 0]))
    assert table.filter(rows_where(table, where, "table"))["name"].to_pylist() == ["absent", "untold"]


def test_chance_is_the_same_in_each_process():
    table = pa.table({"n": range(1000)})
    held = [rows_where(table, "random() > 0.5", "table").tolist() for _ in range(2)]
    assert held[0] == held[1] and 400 < sum(held[0]) < 600


def test_what_is_not_installed_is_named_with_the_command_that_gets_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(InputError, match=r"needs DuckDB: pip install 'medclipsam-monai\[archive\]'$"):
        rows_where(ROWS, "quality > 0.8", "table")


def test_a_table_is_a_file_a_folder_of_files_or_an_archives_outputs(tmp_path):
    (tmp_path / "out" / "table").mkdir(parents=True)
    for number in range(2):
        parquet.write_table(pa.table({"n": [number]}), tmp_path / "out" / "table" / f"part-{number}.parquet")
    (tmp_path / "out" / "table" / ".hidden.parquet").write_text("")
    for path in ("out", "out/table"):
        assert read_parquet(tmp_path / path)["n"].to_pylist() == [0, 1]
    assert read_parquet(tmp_path / "out" / "table" / "part-1.parquet")["n"].to_pylist() == [1]


def test_what_is_no_table_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.parquet").write_text("no table")
    (tmp_path / "mixed").mkdir()
    parquet.write_table(pa.table({"a": [1]}), tmp_path / "mixed" / "1.parquet")
    parquet.write_table(pa.table({"b": [1]}), tmp_path / "mixed" / "2.parquet")
    cases = {
        "none": "no such table",
        "empty": "holds no table; expected files such as part-00000001.parquet",
        "broken.parquet": "cannot be read as a table",
        "mixed": "has other columns than 1.parquet",
    }
    for name, words in cases.items():
        with pytest.raises(InputError, match=words) as caught:
            read_parquet(tmp_path / name)
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(tables, "_MOST_ROWS", 0)
    with pytest.raises(InputError, match="is too large: 1 rows"):
        read_parquet(tmp_path / "mixed" / "1.parquet")
