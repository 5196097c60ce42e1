"""Tables as rows of names and values: CSV, TSV, JSON (a list of objects), JSON lines and Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import json_object, parse_object, read_list
from medclipsam_monai.io.tables.parquet import SUFFIX, read_parquet, rows_of
from medclipsam_monai.io.tables.where import rows_where

_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class PairTable:
    """A table with at least one row.

    Attributes:
        columns: their names; of a table of objects those of the first.
        rows: gives the rows with the columns that are named, perhaps with others too.
    """

    columns: tuple[str, ...]
    rows: Callable[[Collection[str]], list[dict[str, Any]]]


def read_table(path: Path, where: str | None = None) -> PairTable:
    """Read a table.

    Args:
        path: of a .csv, .tsv, .json or .jsonl file of at most 1 GiB, or a Parquet table, see `parquet_files`.
        where: which rows of a Parquet table, see `rows_where`.

    Raises:
        InputError: the table is missing, unreadable, of another kind, or empty, or the expression cannot be used.
    """
    if path.suffix.lower() == SUFFIX or path.is_dir():
        return _read_parquet(path, where)
    if where is not None:
        raise InputError(f"where={where!r} chooses rows of a Parquet table, and {path} is none")
    rows = _read_text(path)
    return PairTable(tuple(rows[0]), lambda columns: rows)


def _read_parquet(path: Path, where: str | None) -> PairTable:
    table = read_parquet(path)
    count = table.num_rows
    if where is not None:
        table = table.filter(rows_where(table, where, path))
    if not table.num_rows:
        raise InputError(
            f"{path}: where={where!r} holds for none of its {count} rows" if count else f"{path} holds no rows"
        )
    return PairTable(
        tuple(table.column_names),
        lambda columns: rows_of(table, [name for name in table.column_names if name in columns], path),
    )


def _read_text(path: Path) -> list[dict[str, Any]]:
    readers = {".csv": _read_delimited, ".tsv": _read_delimited, ".json": _read_json, ".jsonl": _read_lines}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path}: a table of pairs is one of {', '.join(readers)}, {SUFFIX}")
    if not path.exists():
        raise InputError(f"table of pairs not found: {path}")
    if not path.is_file():
        raise InputError(f"{path} cannot be read as a table: it is no file")
    if path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{path} has {path.stat().st_size:,} bytes; expected a table of at most {_MOST_BYTES:,}")
    try:
        rows = list(readers[path.suffix.lower()](path))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table: {error}") from error
    if not rows:
        raise InputError(f"{path} holds no rows")
    return rows


def _text(path: Path) -> str:
    """Spreadsheets put a byte order mark in front, which would become part of the first column's name."""
    return path.read_text(encoding="utf-8-sig")


def _read_delimited(path: Path) -> Iterator[dict[str, Any]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    return csv.DictReader(io.StringIO(_text(path), newline=""), delimiter=delimiter)


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            yield parse_object(line, f"{path}, line {number}")


def _read_json(path: Path) -> Iterator[dict[str, Any]]:
    for number, item in enumerate(read_list(path, max_bytes=_MOST_BYTES), 1):
        yield json_object(item, f"{path}, item {number}")


def field(row: Mapping[str, Any], column: str) -> Any:
    """The value in a column; "Description.Caption" is one inside an object. None where there is none."""
    if column in row:
        return row[column]
    value: Any = row
    for part in column.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
