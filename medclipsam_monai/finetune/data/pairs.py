"""Image-text pairs from a table: CSV, TSV, JSON or JSONL with any column names, and a split that keeps cases whole.

MedPix repeats one caption over the images of a case, so pairs are split by case and never by image.
"""

from __future__ import annotations

import csv
import io
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import parse_json
from medclipsam_monai.io.formats.table import supported_suffixes
from medclipsam_monai.io.inputs.stems import file_stem

_log = logging.getLogger(__name__)

_MOST_BYTES = 1 << 30
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
        caption: column of captions.
        case: column of cases; without it every image is a case of its own.
        case_pattern: what of the case column (of the image's name without one) names the case, a regular expression.
        slice: column of slice numbers, for volumes.
    """

    image: str = "image"
    caption: str = "caption"
    case: str | None = None
    case_pattern: str = ".+"
    slice: str | None = None


LAYOUTS: dict[str, Layout] = {
    "plain": Layout(),
    "medpix": Layout("image", "Description.Caption", "U_id"),  # MedPix 2.0's Descriptions.json
    "medpix_csv": Layout("filename", "Caption"),  # the table that MedCLIP-SAMv2's script reads
    "roco": Layout("name", "caption", case_pattern=r"PMC\d+"),
    "roco_v2": Layout("ID", "Caption"),
}


def read_pairs(
    table: str | Path,
    root: str | Path | None = None,
    layout: str | Layout = "plain",
    min_caption_length: int = MIN_CAPTION_LENGTH,
    **columns: Any,
) -> list[Pair]:
    """The pairs of a table; rows without a usable caption are left out, and the log says how many.

    Args:
        table: a .csv, .tsv, .json (list of objects) or .jsonl file.
        root: folder the image names start from; the table's own if not given. Its "images" folder is tried too.
        layout: one of LAYOUTS, or a `Layout`.
        min_caption_length: shorter captions are left out, in characters.
        columns: fields of `Layout` that differ, such as caption="report". A plain table without a column "case"
            takes every image as a case of its own.

    Raises:
        InputError: if the table is missing, unreadable or empty, lacks a column, or no caption is long enough.
    """
    path = Path(table)
    chosen = _layout(layout, columns)
    rows = _read_rows(path)
    if chosen.case is None and "case" not in columns and layout == "plain" and "case" in rows[0]:
        chosen = replace(chosen, case="case")
    _check_columns(path, rows[0], chosen)
    images = _ImageFinder(path.parent if root is None else Path(root))
    listed = {str(_field(row, chosen.image) or "").strip() for row in rows}
    shared = {name for name, count in Counter(Path(name).name for name in listed).items() if count > 1}
    pairs, dropped = [], Counter[str]()
    for row in rows:
        caption = re.sub(r"\s+", " ", str(_field(row, chosen.caption) or "")).strip()
        name = str(_field(row, chosen.image) or "").strip()
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


def split_by_case(pairs: Sequence[Pair], fraction: float = 0.15, seed: int = 0) -> tuple[list[Pair], list[Pair]]:
    """Training and held-out pairs; a case is wholly in one of them, and so is a caption that several cases share.

    Args:
        pairs: all pairs.
        fraction: share of the pairs to hold out, in (0, 1).
        seed: of the choice; the same pairs and seed always give the same split, whatever their order.

    Raises:
        ValueError: if the fraction is not in (0, 1).
        InputError: if the pairs cannot be split because all hang together.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, got {fraction}")
    groups = _linked_groups(pairs)
    names = sorted(set(groups))
    if len(names) < 2:
        raise InputError(f"the {len(pairs)} pairs cannot be split: all belong to one case or share one caption")
    sizes, wanted = Counter(groups), fraction * len(pairs)
    held: set[str] = set()
    count = 0
    for number in np.random.default_rng(seed).permutation(len(names)):
        name = names[number]
        # A group is passed over where taking it would overshoot more than stopping short undershoots.
        if count + sizes[name] / 2 <= wanted:
            held.add(name)
            count += sizes[name]
    held = held or {min(names, key=lambda name: (sizes[name], name))}
    train = [pair for pair, group in zip(pairs, groups, strict=True) if group not in held]
    return train, [pair for pair, group in zip(pairs, groups, strict=True) if group in held]


def number_labels(values: Sequence[str]) -> list[int]:
    """Equal texts to equal whole numbers, counted in order of appearance; captions are compared without case."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(value.casefold(), len(numbers)) for value in values]


def _linked_groups(pairs: Sequence[Pair]) -> list[str]:
    """For each pair the least case that it is linked to, over shared captions."""
    parent: dict[str, str] = {pair.case: pair.case for pair in pairs}

    def top(case: str) -> str:
        while parent[case] != case:
            parent[case] = parent[parent[case]]
            case = parent[case]
        return case

    first_with: dict[str, str] = {}
    for pair in pairs:
        one, other = top(pair.case), top(first_with.setdefault(pair.caption.casefold(), pair.case))
        parent[max(one, other)] = min(one, other)
    return [top(pair.case) for pair in pairs]


def _layout(layout: str | Layout, columns: Mapping[str, Any]) -> Layout:
    if isinstance(layout, str):
        if layout not in LAYOUTS:
            raise InputError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
        layout = LAYOUTS[layout]
    unknown = sorted(set(columns) - set(Layout.__dataclass_fields__))
    if unknown:
        raise InputError(f"columns may be {', '.join(Layout.__dataclass_fields__)}, got {unknown[0]!r}")
    return replace(layout, **columns)


def _read_rows(path: Path) -> list[dict[str, Any]]:
    readers = {".csv": _read_delimited, ".tsv": _read_delimited, ".json": _read_json, ".jsonl": _read_jsonl}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path}: a table of pairs is one of {', '.join(readers)}")
    if path.exists() and not path.is_file():
        raise InputError(f"{path} cannot be read as a table: it is no file")
    if path.exists() and path.stat().st_size > _MOST_BYTES:
        raise InputError(f"{path} has {path.stat().st_size:,} bytes; expected a table of at most {_MOST_BYTES:,}")
    try:
        # utf-8-sig: spreadsheets put a byte order mark in front, which would become part of the first column's name
        rows = list(readers[path.suffix.lower()](path.read_text(encoding="utf-8-sig"), path))
    except FileNotFoundError as error:
        raise InputError(f"table of pairs not found: {path}") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table: {error}") from error
    if not rows:
        raise InputError(f"{path} holds no rows")
    return rows


def _read_delimited(text: str, path: Path) -> Iterator[dict[str, Any]]:
    return csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")


def _read_jsonl(text: str, path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _as_object(parse_json(line, f"{path}, line {number}"), f"{path}, line {number}")


def _read_json(text: str, path: Path) -> Iterator[dict[str, Any]]:
    content = parse_json(text, str(path))
    if not isinstance(content, list):
        raise InputError(f"{path} must hold a list of objects, got a {type(content).__name__}")
    for number, item in enumerate(content, 1):
        yield _as_object(item, f"{path}, item {number}")


def _as_object(item: Any, where: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise InputError(f"{where} must be an object, got a {type(item).__name__}")
    return item


def _check_columns(path: Path, row: Mapping[str, Any], layout: Layout) -> None:
    for column in (layout.image, layout.caption, layout.case, layout.slice):
        if column is not None and column.split(".")[0] not in row and column not in row:
            raise InputError(f"{path} has no column {column!r}; it has {', '.join(map(str, row))}")


def _field(row: Mapping[str, Any], column: str) -> Any:
    if column in row:
        return row[column]
    value: Any = row
    for part in column.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _case(row: Mapping[str, Any], image: str, layout: Layout, shared: Collection[str]) -> str:
    """The case column's value, or the image's base name; its whole name where images of several folders share it."""
    value = str(_field(row, layout.case) or image) if layout.case else Path(image).name
    if not layout.case and layout.case_pattern == Layout.case_pattern and value in shared:
        return image
    match = re.search(layout.case_pattern, value)
    return match.group() if match else value


def _slice(row: Mapping[str, Any], layout: Layout, path: Path) -> int | None:
    value = _field(row, layout.slice) if layout.slice else None
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
