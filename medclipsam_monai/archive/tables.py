"""A table of images, CSV or Parquet: its columns and rows, refused as a whole where it cannot be used."""

from __future__ import annotations

import csv
import glob
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.tables.parquet import SUFFIX, check_columns, read_parquet, rows_of

PATH, NAME, TEXT = "path", "name", "text"
_CSV = ".csv"


def is_table(path: Path) -> bool:
    """Whether a source is a table: a file by its suffix, or a folder with Parquet files in it that has theirs.

    Raises:
        InputError: a glob of tables.
        OSError: a folder cannot be opened.
    """
    suffix = path.suffix.lower()
    if suffix not in (_CSV, SUFFIX):
        return False
    if path.is_dir():
        return suffix == SUFFIX and any(path.glob(f"*{SUFFIX}"))
    if glob.has_magic(str(path)) and not path.exists():
        if any(Path(match).is_file() for match in glob.iglob(str(path), recursive=True)):
            raise InputError(f"{path}: matches a table; give one table by its name, or a glob of images")
        return False
    return True


def read_table(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of a table, and the types of its columns by their names: of pyarrow's, None for text.

    Raises:
        InputError: it is not there or cannot be read, a column has no name or lacks, there is no row, or one is without
            a path.
    """
    if not path.exists():
        raise InputError(f"{path}: no such table")
    rows, columns = _read_csv(path) if path.suffix.lower() == _CSV else _read_parquet(path)
    for name in columns:
        own = next((own for own in (PATH, NAME, TEXT) if own == name.casefold() and own != name), None)
        if own is not None:
            raise InputError(f"{path}: the column {name!r} must be written {own!r}, or have another name")
    check_columns(path, list(columns), [PATH])
    if not rows:
        raise InputError(f"{path}: has no rows")
    for number, row in enumerate(rows, start=1):
        if not words(row[PATH]):
            raise InputError(f"{path}: row {number} has no {PATH}; give each row the path of an image")
    return rows, columns


def words(cell: object) -> str:
    """What stands in a cell, without blanks around it."""
    return "" if cell is None else str(cell).strip()


def refuse_twice(table: Path, column: str, values: Iterable[tuple[int, Hashable, str, str]]) -> None:
    """Refuse two rows of one path or name.

    Args:
        table: the table, for the error.
        column: its column.
        values: of each row its number, what no other row may have, that in words, and how the row says it.

    Raises:
        InputError: with the first two.
    """
    seen: dict[Hashable, tuple[int, str]] = {}
    for number, value, shown, said in values:
        first, says = seen.setdefault(value, (number, said))
        if first != number:
            raise InputError(
                f"{table}: two rows have the {column} {shown!r}, row {first} as {says!r} and row {number} as {said!r}; "
                "each image needs one of its own"
            )


def _read_csv(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"{path}: is a pipe, a socket or a device; a table must be a regular file")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            rows, columns = list(reader), reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table: {error}") from error
    if not any(map(words, columns)):
        raise InputError(f"{path}: the first line must hold the columns' names, {PATH} among them; it is empty")
    _check_names(path, columns)
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise InputError(f"{path}: row {number} has not as many cells as the first line")
    return rows, dict.fromkeys(columns)


def _read_parquet(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    table = read_parquet(path)
    _check_names(path, table.column_names)
    return rows_of(table, table.column_names, path), {one.name: one.type for one in table.schema}


def _check_names(path: Path, columns: Sequence[str]) -> None:
    number = next((number for number, name in enumerate(columns, start=1) if not words(name)), None)
    if number is not None:
        raise InputError(f"{path}: column {number} has no name; give it one, or drop the column")
    if len(set(columns)) < len(columns):
        raise InputError(f"{path}: has two columns of one name")
