"""Reads PNG, JPEG, TIFF and BMP pictures with Pillow, pixel for pixel as they are stored.

EXIF orientation is not applied: the mask lies on the stored pixel grid, as other programs read it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from medclipsam_monai.errors import InputError
from medclipsam_monai.io.geometry import StoredImage
from medclipsam_monai.io.guard import reading

_DEEP_MODES = ("F", "I", "I;16", "I;16B", "I;16L", "I;16N")


def _flat_pixels(picture: Image.Image) -> np.ndarray:
    """Pixels as (rows, columns, 1 or 3); what is transparent is laid on black, as dark viewers show it."""
    if picture.mode in _DEEP_MODES:
        return np.asarray(picture)[..., None]
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        grey = picture.mode in ("LA", "La", "L", "1")
        layer = picture.convert("RGBA")
        layer = Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
        return np.asarray(layer.convert("RGB"))[..., : 1 if grey else 3]
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L"))[..., None]
    return np.asarray(picture.convert("RGB"))


def read_picture(path: Path) -> StoredImage:
    """Reads one picture: 1, 8, 16 or 32 bit grey, palette, grey or colour with alpha, CMYK.

    Raises:
        InputError: not a picture, damaged, several pages, or more pixels than Pillow holds for safe.
    """
    try:
        with reading(path, "a picture"), Image.open(path) as picture:
            pages = getattr(picture, "n_frames", 1)
            if pages > 1 and picture.format in ("TIFF", "PNG"):
                raise InputError(f"{path}: holds {pages} pages; save the one to segment as a picture of its own")
            picture.load()
            array = _flat_pixels(picture)
            photometric = "RGB" if array.shape[-1] == 3 else "MONOCHROME2"
    except InputError as error:
        if isinstance(error.__cause__, Image.DecompressionBombError):
            raise InputError(
                f"{path}: has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; make it smaller"
            ) from error.__cause__
        if isinstance(error.__cause__, Image.UnidentifiedImageError):
            raise InputError(f"{path}: is not a picture, whatever its name says") from error.__cause__
        raise
    return StoredImage(
        array=array,
        kind="picture",
        meta={"uint8": array.dtype == np.uint8, "photometric": photometric},
        spatial=False,
    )
