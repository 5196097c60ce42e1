"""What SOURCE of an archive means: a folder, a glob or a file as for `segment`, or a table of paths.

A table is CSV or Parquet with a column ``path`` (a file, or the folder of a DICOM series; from the table's own folder)
and perhaps ``name`` (how the image's outputs begin), ``text`` (what is sought in it; several with ; between) and
whatever else is to stand beside the results: `patient`, for example.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import ImageSource
from medclipsam_monai.io.dicom.series import common_folder
from medclipsam_monai.io.inputs.discovery import search_inputs, with_unique_stems
from medclipsam_monai.io.records import is_base_name
from medclipsam_monai.io.tables.parquet import check_columns, read_parquet

TABLES = (".csv", ".parquet")
PATH, NAME, TEXT = "path", "name", "text"
_BETWEEN_TEXTS = ";"


@dataclass(frozen=True)
class Item:
    """One image of an archive, or something that should have been one.

    Attributes:
        path: as the source names it; of a series its folder.
        source: the image; None where there is none.
        error: why there is none, in one line.
        texts: what is sought in this image; empty where its row says nothing.
        carried: the other columns of its row.
    """

    path: str
    source: ImageSource | None
    error: str = ""
    texts: tuple[str, ...] = ()
    carried: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Listed:
    """The images of an archive.

    Attributes:
        items: with unique stems.
        columns: what is carried through, name -> type of pyarrow's, None for text.
        left_out: files of folders that are no image to segment, each with the reason.
    """

    items: tuple[Item, ...]
    columns: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[tuple[str, str], ...] = ()


def list_images(source: str | Path) -> Listed:
    """Find the images of an archive.

    Args:
        source: a folder, a glob, a file, or a table, see the module's text.

    Raises:
        InputError: nothing is there, a table that cannot be read or has no column ``path``, a row without a path, or
            two rows of one path or one name.
    """
    path = Path(source).expanduser()
    if path.suffix.lower() in TABLES:
        return _listed_in(path)
    found = search_inputs([source])
    if not found.sources:
        raise InputError(found.failed[0][1] if found.failed else f"{source}: no image")
    left_out = tuple((str(one.path), one.reason) for one in found.left_out)
    return Listed(tuple(Item(_path_of(one), one) for one in found.sources), left_out=left_out)


def _path_of(source: ImageSource) -> str:
    return str(source.paths[0] if len(source.paths) == 1 else common_folder(source.paths))


def _listed_in(table: Path) -> Listed:
    if not table.is_file():
        raise InputError(f"{table}: no such table")
    rows, columns = _read_csv(table) if table.suffix.lower() == ".csv" else _read_parquet(table)
    check_columns(table, list(columns), [PATH])
    if not rows:
        raise InputError(f"{table}: has no rows")
    for number, row in enumerate(rows, start=1):
        if not _words(row[PATH]):
            raise InputError(f"{table}: row {number} has no {PATH}; give each row the path of an image")
    _refuse_twice(table, PATH, (str(table.parent / _words(row[PATH])) for row in rows))
    _refuse_twice(table, NAME, (name for row in rows if (name := _words(row.get(NAME)))))
    carried = {name: kind for name, kind in columns.items() if name not in (PATH, NAME, TEXT)}
    items = [item for row in rows for item in _items(table.parent, row, carried)]
    return Listed(tuple(_with_stems(items)), carried)


def _words(cell: object) -> str:
    return "" if cell is None else str(cell).strip()


def _refuse_twice(table: Path, column: str, values: Iterable[str]) -> None:
    twice = next((value for value, count in Counter(values).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{table}: two rows have the {column} {twice!r}; each image needs one of its own")


def _items(folder: Path, row: Mapping[str, Any], carried: Iterable[str]) -> list[Item]:
    """The images behind a row: one, or more where its folder holds several series; else what is wrong with it."""
    texts = tuple(part.strip() for part in _words(row.get(TEXT)).split(_BETWEEN_TEXTS) if part.strip())
    path, name = folder / Path(_words(row[PATH])).expanduser(), _words(row.get(NAME))
    item = Item(_words(row[PATH]), None, texts=texts, carried={column: row[column] for column in carried})
    if name and (not is_base_name(name) or name.startswith(".")):
        return [replace(item, error=f"{path}: the name {name!r} must be plain, without folders and a dot in front")]
    if not path.exists():
        return [replace(item, error=f"{path}: no such file or folder")]
    found = search_inputs([path])
    if found.failed:
        return [replace(item, error=found.failed[0][1])]
    sources = found.sources
    if name:
        stems = [name] if len(sources) == 1 else [f"{name}_{source.stem}" for source in sources]
        sources = tuple(replace(one, stem=stem) for one, stem in zip(sources, stems, strict=True))
    return [replace(item, source=one) for one in sources]


def _with_stems(items: Sequence[Item]) -> list[Item]:
    """Items whose outputs have names of their own."""
    named = iter(with_unique_stems([item.source for item in items if item.source is not None]))
    return [item if item.source is None else replace(item, source=next(named)) for item in items]


def _read_csv(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            rows, columns = list(reader), reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table: {error}") from error
    if len(set(columns)) < len(columns):
        raise InputError(f"{path}: has two columns of one name")
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise InputError(f"{path}: row {number} has not as many cells as the first line")
    return rows, dict.fromkeys(columns)


def _read_parquet(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    table = read_parquet(path)
    return table.to_pylist(), {one.name: one.type for one in table.schema}
