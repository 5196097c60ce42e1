"""Many pictures on one sheet with a few words under each, for people to look through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from medclipsam_monai.transforms.lettering import font, printable, shortened

_TILE, _GAP, _LINE, _COLUMNS = 224, 10, 16, 6
_GROUND, _INK, _TITLE = (24, 24, 24), (208, 208, 208), (255, 255, 255)


@dataclass(frozen=True)
class Tile:
    """A picture file and the lines under it."""

    picture: Path
    lines: tuple[str, ...]


def picture_sheet(title: str, tiles: Sequence[Tile]) -> np.ndarray:
    """Lay out pictures in rows.

    Args:
        title: one line above all.
        tiles: the pictures, each fitted into a square, in reading order; one that cannot be read stays a blank square.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: no tile.
    """
    if not tiles:
        raise ValueError("tiles must hold at least one picture, got none")
    title, lettering, large = printable(title), font(11), font(14)
    columns = min(_COLUMNS, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    text_height = max(len(tile.lines) for tile in tiles) * _LINE
    cell = (_TILE + _GAP, _TILE + text_height + _GAP)
    top = 2 * _LINE
    width = max(columns * cell[0] + _GAP, math.ceil(large.getlength(title)) + 2 * _GAP)
    sheet = Image.new("RGB", (width, top + rows * cell[1]), _GROUND)
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, _GAP // 2), title, fill=_TITLE, font=large)
    for number, tile in enumerate(tiles):
        left, upper = _GAP + number % columns * cell[0], top + number // columns * cell[1]
        thumbnail = _thumbnail(tile.picture)
        sheet.paste(thumbnail, (left + (_TILE - thumbnail.width) // 2, upper + (_TILE - thumbnail.height) // 2))
        for row, line in enumerate(tile.lines):
            place = (left, upper + _TILE + 2 + row * _LINE)
            words = shortened(printable(line), lettering, _TILE)
            pen.text(place, words, fill=_INK if row else _TITLE, font=lettering)
    return np.asarray(sheet)


def _thumbnail(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            small = picture.convert("RGB")
    except (OSError, ValueError):
        return Image.new("RGB", (_TILE, _TILE), (64, 64, 64))
    small.thumbnail((_TILE, _TILE))
    return small
