"""Words in pictures: legends, slice numbers, titles.

The font is DejaVu Sans, which matplotlib brings along: Latin with its accents, Greek, Cyrillic, Arabic and Hebrew.
Characters that it lacks, such as Chinese, are written as escapes ("\\u80ba"), for an empty box tells nothing.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

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

    Example:
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
