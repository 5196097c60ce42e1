"""Reads a Parquet table: a file, a folder of files, or the output folder of `medclipsam archive`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.inputs.folders import with_home

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = ".parquet"
TABLE_FOLDER = "table"
"""Of an archive's outputs, where its table lies."""

_MOST_ROWS, _MOST_BYTES = 200_000_000, 16 << 30


def parquet_files(path: str | Path) -> list[Path]:
    """The files of a table, in the order of their names.

    Args:
        path: a file, a folder of ``*.parquet`` files, or one that has such a folder ``table``.

    Raises:
        InputError: there is no table.
    """
    path = with_home(path)
    if path.is_file():
        return [path]
    if not path.exists():
        raise InputError(f"{path}: no such table")
    folder = path / TABLE_FOLDER if (path / TABLE_FOLDER).is_dir() else path
    files = sorted(file for file in folder.glob(f"*{SUFFIX}") if not file.name.startswith("."))
    if not files:
        raise InputError(f"{folder}: holds no table; expected files such as part-00000001{SUFFIX}")
    return files


def read_parquet(path: str | Path) -> pa.Table:
    """A whole table.

    Args:
        path: see `parquet_files`.

    Raises:
        InputError: pyarrow is not installed, there is no table, a file is none, is too large or has other columns than
            the first, or two columns have one name.
    """
    files = parquet_files(path)
    try:
        import pyarrow as pa
    except ImportError as error:
        raise InputError(f"{path}: Parquet needs pyarrow: pip install 'medclipsam-monai[archive]'") from error
    room = _MOST_BYTES
    tables: list[pa.Table] = []
    for file in files:
        table, taken = _read(file, room)
        room -= taken
        if tables and not table.schema.equals(tables[0].schema):
            raise InputError(f"{file}: has other columns than {files[0].name}; one table has the same in all its files")
        tables.append(table)
    return pa.concat_tables(tables)


def _read(file: Path, room: int) -> tuple[pa.Table, int]:
    """One file, and how many bytes its columns have before compression."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as opened:
            about = opened.metadata
            size = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
            if size > room or about.num_rows > _MOST_ROWS:
                raise InputError(
                    f"{file}: is too large: {about.num_rows:,} rows, {size:,} bytes; expected at most {_MOST_ROWS:,} "
                    f"and {_MOST_BYTES:,} in all its files"
                )
            names = opened.schema_arrow.names
            if len(set(names)) < len(names):
                raise InputError(f"{file}: has two columns of one name")
            return opened.read(), size
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise InputError(f"{file}: cannot be read as a table: {' '.join(str(error).split())}") from error


def rows_of(table: pa.Table, names: Sequence[str], path: str | Path) -> list[dict[str, Any]]:
    """The rows of some columns; see `values_of`."""
    columns = {name: values_of(table, name, path) for name in names}
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def values_of(table: pa.Table, name: str, path: str | Path) -> list[Any]:
    """The values of a column, as Python has them and as they can be written again.

    Args:
        table: the table.
        name: of the column.
        path: of the table, for the error.

    Raises:
        InputError: Python has no such value, such as a date before year 1, or pyarrow cannot write its type.
    """
    import pyarrow as pa

    column = table[name]
    try:
        values = column.to_pylist()
        pa.array(values, type=column.type)
    except (ArithmeticError, LookupError, TypeError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: the column {name!r} has a value of {column.type} that cannot be used: {reason}; convert it, "
            "to text for example, or drop it"
        ) from error
    return values


def check_columns(path: str | Path, names: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse a table that lacks a column.

    Args:
        path: of the table, for the error.
        names: of its columns.
        wanted: those that it must have.

    Raises:
        InputError: with the first one.
    """
    missing = next((name for name in wanted if name not in names), None)
    if missing is not None:
        raise InputError(f"{path}: has no column {missing!r}; it has {', '.join(map(repr, names)) or 'none'}")
