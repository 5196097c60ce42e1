"""Words in pictures: legends, slice numbers, titles.

The font is DejaVu Sans, which matplotlib brings along: Latin with its accents, Greek, Cyrillic, Arabic and Hebrew.
Characters that it lacks, such as Chinese, are written as escapes ("\\u80ba"), for an empty box tells nothing.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from medclipsam_monai.base.colours import Colour

_NO_CHARACTER = "\uffff"


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans in a size of pixels."""
    matplotlib = find_spec("matplotlib")  # found without its import, which is slow
    if matplotlib is None or matplotlib.origin is None:
        raise ImportError("matplotlib, which brings the font of legends, is not installed")
    path = Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size)


@cache
def _is_drawn(character: str) -> bool:
    """Whether the font has a glyph of its own for a character."""
    if not character.isprintable():
        return False
    drawn, missing = (font(16).getmask(text) for text in (character, _NO_CHARACTER))
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)


def printable(text: str) -> str:
    """The text with an escape for every character that the font cannot draw.

    Examples:
        >>> print(printable("Lunge"), printable("lung 肺"))
        Lunge lung \\u80ba
    """
    return "".join(
        character if _is_drawn(character) else character.encode("unicode_escape").decode()
        for character in unicodedata.normalize("NFC", text)
    )


def shortened(text: str, lettering: ImageFont.FreeTypeFont, width: float) -> str:
    """What fits into a width in pixels, with dots for what does not."""
    if lettering.getlength(text) <= width:
        return text
    while text and lettering.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def with_legend(picture: np.ndarray, names: Sequence[str], colours: Sequence[Colour]) -> np.ndarray:
    """Add a strip below with each class's colour and name, in as many lines as the width needs."""
    lettering, line, swatch = font(12), 20, 12
    width, x, y = picture.shape[1], 6, 0
    names = [shortened(printable(name), lettering, max(0, width - 2 * 6 - swatch - 5)) for name in names]
    places: list[tuple[int, int]] = []
    for name in names:
        size = swatch + 5 + math.ceil(lettering.getlength(name)) + 12
        if places and x + size > width:
            x, y = 6, y + line
        places.append((x, y))
        x += size
    strip = Image.new("RGB", (width, y + line))
    pen = ImageDraw.Draw(strip)
    for i, (name, (left, top)) in enumerate(zip(names, places, strict=True)):
        pen.rectangle((left, top + 4, left + swatch - 1, top + 3 + swatch), fill=colours[i % len(colours)])
        pen.text((left + swatch + 5, top + line // 2), name, fill=(255, 255, 255), font=lettering, anchor="lm")
    return np.concatenate([picture, np.array(strip)], axis=0)
