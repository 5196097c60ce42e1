"""What SOURCE of an archive means: a folder, a glob or a file as for `segment`, or a table of paths.

A table is CSV or Parquet with a column ``path`` (a file, or the folder of a DICOM series; from the table's own folder)
and perhaps ``name`` (how the image's outputs begin), ``text`` (what is sought in it; several with ; between) and
whatever else is to stand beside the results: `patient`, for example. Names that are given are kept as they are; those
of other images give way to them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medclipsam_monai.archive.tables import NAME, PATH, TEXT, is_table, read_table, refuse_twice, words
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import ImageSource
from medclipsam_monai.io.dicom.series import common_folder
from medclipsam_monai.io.inputs.discovery import search_inputs, with_unique_stems
from medclipsam_monai.io.inputs.folders import with_home
from medclipsam_monai.io.inputs.names import LONGEST_STEM, folded, safe_stem, unique_stems
from medclipsam_monai.io.inputs.sources import Found

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
        InputError: nothing is there, a table that cannot be used, see `read_table`, or two rows of one image or one
            name.
    """
    if not str(source).strip():
        raise InputError("the source is empty; give a folder, a glob, a file or a table")
    path = Path(os.path.abspath(with_home(source)))
    try:
        if is_table(path):
            return _listed_in(path)
    except OSError as error:
        raise _cannot_open(path, error) from error
    found = _search(path)
    if not found.sources:
        raise InputError(f"{path}: no image")
    left_out = tuple((str(one.path), one.reason) for one in found.left_out)
    return Listed(tuple(Item(_path_of(one), one) for one in found.sources), left_out=left_out)


def _search(path: Path) -> Found:
    try:
        found = search_inputs([path])
    except OSError as error:
        raise _cannot_open(path, error) from error
    if found.failed:
        raise InputError(found.failed[0][1])
    return found


def _cannot_open(path: str | Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be opened: {error.strerror or error}")


def _path_of(source: ImageSource) -> str:
    return str(source.paths[0] if len(source.paths) == 1 else common_folder(source.paths))


def _listed_in(table: Path) -> Listed:
    rows, columns = read_table(table)
    carried = {name: kind for name, kind in columns.items() if name not in (PATH, NAME, TEXT)}
    paths = [words(row[PATH]) for row in rows]
    names = [words(row.get(NAME)) for row in rows]
    given = list(enumerate(zip(paths, names, strict=True), start=1))
    refuse_twice(table, PATH, ((number, at := table.parent / path, str(at), path) for number, (path, _) in given))
    refuse_twice(table, NAME, ((number, folded(name), name, name) for number, (_, name) in given if name))
    items = [(number, item) for number, row in enumerate(rows) for item in _items(table.parent, row, carried)]
    images = [(number, item.source) for number, item in items if item.source is not None]
    refuse_twice(
        table, PATH, ((number + 1, _files(source), _path_of(source), paths[number]) for number, source in images)
    )
    stems = iter(_stems([(names[number], source) for number, source in images], names))
    named = [
        item if item.source is None else replace(item, source=replace(item.source, stem=next(stems)))
        for _, item in items
    ]
    return Listed(tuple(named), carried)


def _files(source: ImageSource) -> tuple[str, ...]:
    """What an image is read from, however its row spells it."""
    return tuple(map(os.path.realpath, source.paths))


def _items(folder: Path, row: Mapping[str, Any], carried: Iterable[str]) -> list[Item]:
    """The images behind a row: one, or more where its folder holds several; else what is wrong with it."""
    texts = tuple(part.strip() for part in words(row.get(TEXT)).split(_BETWEEN_TEXTS) if part.strip())
    path, name = words(row[PATH]), words(row.get(NAME))
    item = Item(path, None, texts=texts, carried={column: row[column] for column in carried})
    try:
        sources = _images(folder / with_home(path), name)
    except InputError as error:
        return [replace(item, error=str(error))]
    return [replace(item, source=one) for one in sources]


def _images(path: Path, name: str) -> tuple[ImageSource, ...]:
    """The images at a row's path; one that stands alone has the name that is given.

    Raises:
        InputError: there is none, or it cannot have the name.
    """
    if name and safe_stem(name) != name:
        raise InputError(
            f"{path}: the name {name!r} must be plain, without folders and a dot in front, printable, and of at most "
            f"{LONGEST_STEM} bytes"
        )
    try:
        there = path.exists()
    except OSError as error:
        raise _cannot_open(path, error) from error
    if not there:
        raise InputError(f"{path}: no such file or folder")
    sources = _search(path).sources
    if name:
        stems = [name] if len(sources) == 1 else [safe_stem(f"{name}_{source.stem}") for source in sources]
        sources = tuple(replace(one, stem=stem) for one, stem in zip(sources, stems, strict=True))
    return sources


def _stems(images: Sequence[tuple[str, ImageSource]], names: Iterable[str]) -> list[str]:
    """How the outputs of images begin, each with a stem of its own.

    Args:
        images: each with the name that its row gives.
        names: of all rows; no other image gets one.
    """
    stems = [source.stem for _, source in images]
    unnamed = [place for place, (name, _) in enumerate(images) if not name]
    for place, source in zip(unnamed, with_unique_stems([images[place][1] for place in unnamed]), strict=True):
        stems[place] = source.stem
    several = [place for place, (name, _) in enumerate(images) if name and name != stems[place]]
    taken = {folded(name) for name in names if name}
    for place in (*several, *unnamed):
        while folded(stems[place]) in taken:
            whole = os.fsencode("\0".join((stems[place], *_files(images[place][1]))))
            stems[place] = unique_stems([stems[place]] * 2, (), [whole, b""])[0]  # with a hash
        taken.add(folded(stems[place]))
    return stems
