"""Pieces of a drawing in SVG: pictures as data, outlines of masks as paths. Nothing in it comes from elsewhere."""

from __future__ import annotations

import base64
import functools
import io

import numpy as np
from PIL import Image

from medclipsam_monai.base.colours import CLASS_COLOURS

LARGEST_SIDE = 1400
"""Pixels of the longer side of a picture as it is sent; what is larger is made smaller for the screen alone."""
_HEAT_SIDE = 256  # pixels of the longer side: saliency is smooth
_AS_PNG = 400_000  # pixels; a larger picture is sent as JPEG, for speed


def colour(k: int) -> str:
    """Of class k, as CSS has it."""
    red, green, blue = CLASS_COLOURS[k % len(CLASS_COLOURS)]
    return f"rgb({red},{green},{blue})"


def picture_data(pixels: np.ndarray) -> str:
    """A picture (h, w) or (h, w, 3) uint8 as an address that holds it."""
    picture = Image.fromarray(pixels)
    if max(picture.size) > LARGEST_SIDE:
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BILINEAR)
    content = io.BytesIO()
    if picture.width * picture.height <= _AS_PNG:
        picture.save(content, "PNG", compress_level=1)
        return _address("png", content)
    picture.save(content, "JPEG", quality=92)
    return _address("jpeg", content)


def heat_data(saliency: np.ndarray) -> str:
    """Saliency (h, w) in [0, 1] as the address of a picture of heat, the stronger the more opaque."""
    picture = Image.fromarray(np.rint(np.clip(np.nan_to_num(saliency), 0, 1) * 255).astype(np.uint8))
    picture.thumbnail((_HEAT_SIDE, _HEAT_SIDE), Image.Resampling.BILINEAR)
    colours = _heat_colours()
    picture = picture.convert("P")
    picture.putpalette(colours.tobytes())
    content = io.BytesIO()
    picture.save(content, "PNG", compress_level=1, transparency=bytes(range(0, 192, 3)[k // 4] for k in range(256)))
    return _address("png", content)


@functools.cache
def _heat_colours() -> np.ndarray:
    """(256, 3) uint8."""
    from matplotlib import colormaps  # here, for it is slow to import

    return np.asarray(colormaps["inferno"](np.arange(256), bytes=True)[:, :3])


def _address(kind: str, content: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"


def outline(mask: np.ndarray, size: tuple[float, float] = (1.0, 1.0)) -> str:
    """The rim of a mask (h, w) bool as the "d" of a path, for the fill rule "evenodd"; "" of an empty mask.

    Args:
        mask: of pixels whose middles lie at halves.
        size: width and height of a pixel as it is drawn.
    """
    if not mask.any():
        return ""
    from contourpy import contour_generator  # comes with matplotlib, and is as slow to import

    padded = np.pad(mask, 1).astype(np.float32)
    parts = []
    for line in contour_generator(z=padded).lines(0.5):
        places = (np.asarray(line) - 0.5) * size  # a pixel's middle is at its number, and a half further as drawn
        parts.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places[:-1]) + "Z")
    return "".join(parts)
