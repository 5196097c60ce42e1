"""Image-text pairs from a table: CSV, TSV, JSON, JSONL or Parquet with any column names."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.finetune.data.tables import field, read_table
from medclipsam_monai.io.formats.table import supported_suffixes
from medclipsam_monai.io.inputs.stems import file_stem

_log = logging.getLogger(__name__)

MIN_CAPTION_LENGTH = 20
"""Characters a caption must have (MedCLIP-SAM, arXiv 2403.20253)."""


@dataclass(frozen=True)
class Pair:
    """One image and what is said about it.

    Attributes:
        image: path of the image file, or "phantom:TASK/SEED" for one that is drawn.
        caption: the text.
        case: the patient or article it belongs to; pairs of one case are never each other's negatives.
        slice: which slice of a volume, counted along the axis a reader scrolls; None for a picture.
    """

    image: str
    caption: str
    case: str
    slice: int | None = None


@dataclass(frozen=True)
class Layout:
    """Where a table keeps things. A column inside a JSON object is written with dots: "Description.Caption".

    Attributes:
        image: column of image files, absolute or under the root; a missing suffix is found.
        caption: column of captions; of several texts in a cell they are joined by "; ".
        case: column of cases; without it every image is a case of its own.
        case_pattern: what of the case column (of the image's name without one) names the case, a regular expression.
        slice: column of slice numbers, for volumes.
    """

    image: str = "image"
    caption: str = "caption"
    case: str | None = None
    case_pattern: str = ".+"
    slice: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names."""
        return tuple(one for one in (self.image, self.caption, self.case, self.slice) if one is not None)


LAYOUTS: dict[str, Layout] = {
    "plain": Layout(),
    "medpix": Layout("image", "Description.Caption", "U_id"),  # MedPix 2.0's Descriptions.json
    "medpix_csv": Layout("filename", "Caption"),  # the table that MedCLIP-SAMv2's script reads
    "roco": Layout("name", "caption", case_pattern=r"PMC\d+"),
    "roco_v2": Layout("ID", "Caption"),
    "archive": Layout("path", "texts"),  # the table of `medclipsam archive`
}

_USUAL_CASES = {"plain": "case", "archive": "patient"}
"""Columns of cases that a table of a layout may have or not."""


def read_pairs(
    table: str | Path,
    root: str | Path | None = None,
    layout: str | Layout = "plain",
    min_caption_length: int = MIN_CAPTION_LENGTH,
    where: str | None = None,
    **columns: Any,
) -> list[Pair]:
    """The pairs of a table; rows without a usable caption are left out, and the log says how many.

    Args:
        table: a .csv, .tsv, .json (list of objects) or .jsonl file, or a Parquet table: a file, a folder of files, or
            the output folder of `medclipsam archive`.
        root: folder the image names start from; the table's own if not given. Its "images" folder is tried too.
        layout: one of LAYOUTS, or a `Layout`.
        min_caption_length: shorter captions are left out, in characters.
        where: which rows of a Parquet table, see `rows_where`.
        columns: fields of `Layout` that differ, such as caption="report". A plain table without a column "case", or an
            archive's without "patient", takes every image as a case of its own.

    Raises:
        InputError: if the table is missing, unreadable or empty, lacks a column, no caption is long enough, or `where`
            cannot be used or leaves nothing.
    """
    path = Path(table)
    chosen = _layout(layout, columns)
    found = read_table(path, where)
    usual = _USUAL_CASES.get(layout) if isinstance(layout, str) else None
    if chosen.case is None and "case" not in columns and usual in found.columns:
        chosen = replace(chosen, case=usual)
    _check_columns(path, found.columns, chosen)
    rows = found.rows({part for name in chosen.columns for part in (name, name.split(".")[0])})
    images = _ImageFinder(path.parent if root is None else Path(root))
    listed = {str(field(row, chosen.image) or "").strip() for row in rows}
    shared = {name for name, count in Counter(Path(name).name for name in listed).items() if count > 1}
    pairs, dropped = [], Counter[str]()
    for row in rows:
        caption = re.sub(r"\s+", " ", _words(field(row, chosen.caption))).strip()
        name = str(field(row, chosen.image) or "").strip()
        if not caption or not name:
            dropped["without a caption" if not caption else "without an image"] += 1
        elif len(caption) < min_caption_length:
            dropped[f"with a caption under {min_caption_length} characters"] += 1
        else:
            pairs.append(Pair(images.find(name), caption, _case(row, name, chosen, shared), _slice(row, chosen, path)))
    reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
    if not pairs:
        raise InputError(f"{path} holds no usable pair among {len(rows)} rows: {reasons}")
    cases = len({pair.case for pair in pairs})
    _log.info("%s: %d pairs of %d cases%s", path.name, len(pairs), cases, f"; left out: {reasons}" if reasons else "")
    return pairs


def _layout(layout: str | Layout, columns: Mapping[str, Any]) -> Layout:
    if isinstance(layout, str):
        if layout not in LAYOUTS:
            raise InputError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
        layout = LAYOUTS[layout]
    unknown = sorted(set(columns) - set(Layout.__dataclass_fields__))
    if unknown:
        raise InputError(f"columns may be {', '.join(Layout.__dataclass_fields__)}, got {unknown[0]!r}")
    return replace(layout, **columns)


def _check_columns(path: Path, names: Collection[str], layout: Layout) -> None:
    for column in layout.columns:
        if column.split(".")[0] not in names and column not in names:
            raise InputError(f"{path} has no column {column!r}; it has {', '.join(map(str, names))}")


def _words(value: object) -> str:
    """A cell as text, nothing for none; several texts are joined."""
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return "" if value is None else str(value)


def _case(row: Mapping[str, Any], image: str, layout: Layout, shared: Collection[str]) -> str:
    """The case column's value, or the image's base name; its whole name where images of several folders share it."""
    value = (_words(field(row, layout.case)) or image) if layout.case else Path(image).name
    if not layout.case and layout.case_pattern == Layout.case_pattern and value in shared:
        return image
    match = re.search(layout.case_pattern, value)
    return match.group() if match else value


def _slice(row: Mapping[str, Any], layout: Layout, path: Path) -> int | None:
    value = field(row, layout.slice) if layout.slice else None
    if value in (None, ""):
        return None
    try:
        return int(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: column {layout.slice!r} must hold whole numbers, got {value!r}") from error


class _ImageFinder:
    """Finds the file a table means by a name, which may lack its folder and its suffix."""

    def __init__(self, root: Path) -> None:
        self.folders = (root, root / "images", *sorted(p for p in root.glob("*/images") if p.is_dir()))
        self.by_stem: dict[Path, dict[str, list[str]]] = {}

    def find(self, name: str) -> str:
        """The path of an image; of one that is not there, where it was expected.

        Raises:
            InputError: a name without a suffix that two files have.
        """
        for folder in self.folders:
            path = folder / name
            if path.exists():
                return str(path)
            found = self._stems(path.parent).get(path.name, [])
            if len(found) > 1:
                raise InputError(f"{name} may be {found[0]} or {found[1]}; give the name with its suffix")
            if found:
                return found[0]
        return str(self.folders[0] / name)

    def _stems(self, folder: Path) -> dict[str, list[str]]:
        """Image files of a folder by their `file_stem`."""
        if folder not in self.by_stem:
            files = sorted(folder.iterdir()) if folder.is_dir() else []
            known = [f for f in files if f.name.lower().endswith(supported_suffixes())]
            stems: dict[str, list[str]] = defaultdict(list)
            for file in known:
                stems[file_stem(file)].append(str(file))
            self.by_stem[folder] = stems
        return self.by_stem[folder]
