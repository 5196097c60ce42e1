"""The pictures that the small networks learn from, and those that judge them: real images of tables, and phantoms."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.phantoms.captions import GROUPS
from tools.small.texts.words import CONCEPTS, KINDS, states
from tools.training.corpus import Corpus

LONGEST = 320
"""Of an image's sides in pixels; larger ones are made smaller."""
HALVES = ("train", "choose", "test")
_TARGETS = {"breast tumor": "breast tumour", "brain tumor": "brain tumour"}
_FINDINGS = {"benign": "benign tumour", "malignant": "malignant tumour"}
_FRAMES = 25  # of a video whose patients nobody names stay together


@dataclass(frozen=True)
class Row:
    """A row of a table: an image and where a target lies in it.

    Attributes:
        kind: of picture, one of `KINDS`.
        image: file.
        mask: file.
        target: in the words of the table.
        finding: which kind of it.
        group: images of one group, a patient's as far as known, stay on one side of a split.
    """

    kind: str
    image: Path
    mask: Path
    target: str
    finding: str
    group: str


@dataclass(frozen=True)
class Picture:
    """A picture and all that is known of it.

    Attributes:
        kind: one of `KINDS`.
        pixels: (H, W, 3) uint8.
        masks: by name, (H, W) bool; concepts of `words.CONCEPTS`, and parts of phantoms that nothing names.
        state: of every concept, see `words.states`.
    """

    kind: str
    pixels: NDArray[np.uint8]
    masks: dict[str, NDArray[np.bool_]]
    state: NDArray[np.int8]


def read_rows(table: Path, kinds: dict[str, str] | None = None) -> list[Row]:
    """The rows of a table with the columns task, image, mask, target, finding, source and perhaps patient.

    Args:
        table: CSV file; paths are from its folder.
        kinds: the kind of picture of each task; others are left out. None takes the tasks that are kinds.

    Raises:
        InputError: no such table, or nothing in it that can be used.
    """
    if not table.is_file():
        raise InputError(f"{table}: there is no such table of images")
    kinds = {kind: kind for kind in KINDS} if kinds is None else kinds
    with table.open(newline="", encoding="utf-8") as file:
        rows = [
            Row(
                kinds[row["task"]],
                table.parent / row["image"],
                table.parent / row["mask"],
                row["target"],
                row["finding"],
                _group(row),
            )
            for row in csv.DictReader(file)
            if row["task"] in kinds
        ]
    if not rows:
        raise InputError(f"{table}: no row of one of the tasks {', '.join(kinds)}")
    return rows


def _group(row: dict[str, str]) -> str:
    stem = Path(row["image"]).stem
    number = re.fullmatch(r"(\D*)(\d{3,4})", stem)
    if row.get("patient"):
        return f"{row['source']}/{row['patient']}"
    if row["source"] == "us_usgra" and number:
        return f"{row['source']}/{number[1]}{int(number[2]) // _FRAMES}"
    return f"{row['source']}/{stem}"


def half_of(group: str) -> str:
    """Where the images of a group belong: 65 % to "train", 10 % to "choose", 25 % to "test"; the name decides."""
    place = int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big") / 2**32
    return HALVES[0] if place < 0.65 else HALVES[1] if place < 0.75 else HALVES[2]


def read_pictures(rows: Sequence[Row]) -> list[Picture]:
    """Open the images of some rows; rows of one image become one picture."""
    by_image: dict[Path, list[Row]] = {}
    for row in rows:
        by_image.setdefault(row.image, []).append(row)
    return [_read(image, of) for image, of in by_image.items()]


def read_pixels(image: Path) -> NDArray[np.uint8]:
    """An image (H, W, 3), made smaller where a side is over `LONGEST`."""
    with Image.open(image) as file:
        picture = file.convert("RGB")
    factor = min(1.0, LONGEST / max(picture.size))
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return np.asarray(picture.resize(size, Image.Resampling.BOX if factor < 1 else Image.Resampling.NEAREST))


def _read(image: Path, rows: Sequence[Row]) -> Picture:
    pixels = read_pixels(image)
    size = (pixels.shape[1], pixels.shape[0])
    masks: dict[str, NDArray[np.bool_]] = {}
    for row in rows:
        with Image.open(row.mask) as file:
            mask = np.asarray(file.convert("L").resize(size, Image.Resampling.BOX)) > 127
        name = _TARGETS.get(row.target, row.target)
        if name == "breast tumour":
            name = _FINDINGS.get(row.finding, "benign tumour")
        if mask.any():
            masks[name] = mask
    return Picture(rows[0].kind, pixels, masks, states(rows[0].kind, set(masks), told=False))


def drawn_pictures(corpus: Corpus, indices: Iterable[int], kinds: Sequence[str]) -> Iterator[Picture]:
    """Phantoms as pictures.

    Args:
        corpus: where they lie.
        indices: which.
        kinds: the kind of each of the corpus.
    """
    for index in indices:
        masks = {name: corpus.mask(int(index), name) for name in corpus.names[index]}
        shown = {name for name in masks if name in CONCEPTS and name not in GROUPS}
        pixels = np.repeat(corpus.images[index][..., None], 3, axis=2)
        yield Picture(kinds[index], pixels, masks, states(kinds[index], shown))


def group_mask(picture: Picture, name: str) -> NDArray[np.bool_] | None:
    """Where a concept lies, a group where any of its members does; None where the picture shows none of them."""
    masks = [picture.masks[member] for member in (CONCEPTS[name].members or (name,)) if member in picture.masks]
    return np.logical_or.reduce(masks) if masks else None
