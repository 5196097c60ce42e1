"""Pieces of a drawing in SVG: pictures as data, outlines of masks as paths. Nothing in it comes from elsewhere."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from medclipsam_monai.base.colours import CLASS_COLOURS

LARGEST_SIDE = 1400
"""Pixels of the longer side of a picture as it is sent; what is larger is made smaller for the screen alone."""
_AS_PNG = 400_000  # pixels; a larger picture is sent as JPEG, for speed


def colour(k: int) -> str:
    """Of class k, as CSS has it."""
    red, green, blue = CLASS_COLOURS[k % len(CLASS_COLOURS)]
    return f"rgb({red},{green},{blue})"


def picture_data(pixels: np.ndarray) -> str:
    """A picture (h, w, 3) or (h, w, 4) uint8 as an address that holds it."""
    picture = Image.fromarray(pixels)
    if max(picture.size) > LARGEST_SIDE:
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.BILINEAR)
    content = io.BytesIO()
    if pixels.shape[-1] == 4 or picture.width * picture.height <= _AS_PNG:
        kind = "png"
        picture.save(content, "PNG", compress_level=1)
    else:
        kind = "jpeg"
        picture.save(content, "JPEG", quality=92)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"


def heat(saliency: np.ndarray) -> np.ndarray:
    """Saliency (h, w) in [0, 1] as colours (h, w, 4) uint8, the stronger the more opaque."""
    from matplotlib import colormaps  # here, for it is slow to import

    values = np.clip(np.nan_to_num(np.asarray(saliency, np.float32)), 0, 1)
    colours = colormaps["inferno"](values, bytes=True)
    colours[..., 3] = np.rint(values * 190)
    return np.asarray(colours)


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
