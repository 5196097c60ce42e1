"""Which rows of a table an expression holds for: what may stand after WHERE in SQL, worked out by DuckDB.

The expression is data: DuckDB sees the table and nothing else, neither files nor a network nor Python's names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medclipsam_monai.base.errors import InputError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

CLASSES = "classes"
_NUMBER = "medclipsam_row"  # a column for the rows' numbers; longer where a table has one of this name
_ALONE = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "lock_configuration": "true",
    "threads": "1",
}


def rows_where(table: pa.Table, where: str, source: str | Path) -> np.ndarray:
    """For which rows an expression holds.

    An expression that names a figure of the classes, such as ``presence > 0.9 and quality > 0.8``, is about each class
    that was found in an image (``fraction`` above 0), by its ``class``, ``presence``, ``size``, ``unit``,
    ``fraction``, ``quality`` and ``agreement``: it must hold for all of them, and there must be one. Any other is about
    the row. An expression that is NULL does not hold.

    Args:
        table: the rows; a column ``classes`` as `medclipsam archive` writes it gives the figures.
        where: the expression.
        source: where the table comes from, for errors.

    Returns:
        (rows,) bool.

    Raises:
        InputError: DuckDB is not installed, the expression cannot be read or is no question of yes or no, a column is
            not there, or one that it names has the name of a figure or of another column but for capitals.
    """
    if not isinstance(where, str) or not where.strip():
        raise InputError(f"where must be an expression such as 'presence > 0.9 and quality > 0.8', got {where!r}")
    try:
        import duckdb
    except ImportError as error:
        raise InputError(f"where={where!r} needs DuckDB: pip install 'medclipsam-monai[archive]'") from error
    figures = _figures(table)
    images = table.drop_columns([CLASSES]) if figures else table
    _refuse_taken(images.column_names, figures, where, source)
    with duckdb.connect(":memory:", config=_ALONE) as connection:
        connection.execute("SELECT setseed(0)").fetchall()  # each process of a training takes the same rows
        try:
            if not figures or _binds(connection.from_arrow(images), where):
                held = _numbers(connection, images, where)
                return np.isin(np.arange(table.num_rows), held)
            of_classes, image_of = _by_class(table, images)
            held = _numbers(connection, of_classes, where)
        except duckdb.Error as error:
            raise InputError(f"{source}: where={where!r} cannot be used: {_words(error)}") from error
    there = np.bincount(image_of, minlength=table.num_rows)
    return (there > 0) & (np.bincount(image_of[held], minlength=table.num_rows) == there)


def _figures(table: pa.Table) -> list[str]:
    """What `classes` holds of each class, under the names that an expression uses; empty where there is no such."""
    import pyarrow as pa

    if CLASSES not in table.column_names:
        return []
    kind = table.schema.field(CLASSES).type
    if not pa.types.is_list(kind) or not pa.types.is_struct(kind.value_type):
        return []
    names = [kind.value_type.field(number).name for number in range(kind.value_type.num_fields)]
    return [_figure(name) for name in names] if {"name", "fraction"} <= set(names) else []


def _figure(name: str) -> str:
    return "class" if name == "name" else name  # the row has a name of its own


def _refuse_taken(names: list[str], figures: list[str], where: str, source: str | Path) -> None:
    """Refuse a word that may mean a column of the table or a figure of the classes, or one of two columns.

    DuckDB takes large and small letters for one.
    """
    folded = {name.casefold() for name in figures}
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", where, re.IGNORECASE):
            continue
        if name.casefold() in folded:
            raise InputError(
                f"{source}: where={where!r}: {name!r} is a column of the table and a figure of its classes; give the "
                "column another name"
            )
        if other != name:
            raise InputError(
                f"{source}: where={where!r}: the columns {other!r} and {name!r} differ only in capitals; give one "
                "another name"
            )


def _binds(rows: Any, where: str) -> bool:
    """Whether all columns that an expression names are there; another mistake in it shows later."""
    import duckdb

    try:
        rows.project(where)
    except duckdb.BinderException:
        return False
    return True


def _numbers(connection: duckdb.DuckDBPyConnection, table: pa.Table, where: str) -> np.ndarray:
    """The numbers of the rows that an expression holds for."""
    import duckdb
    import pyarrow as pa

    number, taken = _NUMBER, {name.casefold() for name in table.column_names}
    while number in taken:
        number += "_"
    rows = connection.from_arrow(table.append_column(number, pa.array(np.arange(table.num_rows))))
    kinds = [str(kind) for kind in rows.project(where).types]
    if kinds != ["BOOLEAN"]:
        raise duckdb.InvalidInputException("expected one question of yes or no, such as presence > 0.9")
    return np.asarray(rows.filter(where).project(number).fetchnumpy()[number], dtype=np.int64)


def _by_class(table: pa.Table, images: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """A row for each class that was found, with the columns of its image, and the number of that image."""
    import pyarrow as pa
    from pyarrow import compute

    classes = table[CLASSES].combine_chunks()
    parents, each = compute.list_parent_indices(classes), compute.list_flatten(classes)
    found = compute.fill_null(compute.greater(compute.struct_field(each, "fraction"), 0), False)
    parents, each = parents.filter(found), each.filter(found)
    figures = {name.casefold() for name in _figures(table)}
    rows = images.drop_columns([name for name in images.column_names if name.casefold() in figures]).take(parents)
    for name in (field.name for field in each.type):
        rows = rows.append_column(_figure(name), pa.chunked_array([compute.struct_field(each, name)]))
    return rows, parents.to_numpy()


def _words(error: Exception) -> str:
    """DuckDB's error without its kind and without the picture of the place."""
    said = str(error).partition("\n\nLINE")[0].partition("\nLINE")[0]
    return " ".join(re.sub(r"^[\w ]+ Error: ", "", said).split())
