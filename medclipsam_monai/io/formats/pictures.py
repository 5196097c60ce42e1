"""Pictures as a format: PNG, JPEG, TIFF and BMP with all their bits, pixel for pixel as they are stored.

PNG is decoded by libpng (imagecodecs), TIFF by tifffile and the others by Pillow, which would cut 16-bit colours to 8
bits. Colours are as they are stored: colour profiles and the gAMA chunk are not applied. What is transparent is laid
on black, as dark viewers show it. An EXIF or TIFF orientation is not applied to the array but handed on, so that the
networks see the picture upright and the mask lies on the stored pixels.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np
from PIL import Image

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.base.files import open_file_sha256
from medclipsam_monai.io.dicom.jpeg_streams import check_scans
from medclipsam_monai.io.formats.stored import StoredGrid, StoredImage
from medclipsam_monai.io.formats.table import PICTURE
from medclipsam_monai.io.formats.tiff import is_tiff, lay_on_black, read_tiff, tiff_shape
from medclipsam_monai.io.geometry import Geometry
from medclipsam_monai.io.guard import reading
from medclipsam_monai.io.limits import check_size

_PILLOW_NAMES = ("PNG", "JPEG", "BMP", "WEBP", "GIF")
"""Pillow's names of what is read besides TIFF, whatever the file's name says."""
ORIENTATION_TAG = 0x0112
Orientation = tuple[tuple[int, int], ...]
ORIENTATIONS: dict[int, Orientation] = {
    2: ((0, 1), (1, -1), (2, 1)),
    3: ((0, -1), (1, -1), (2, 1)),
    4: ((0, -1), (1, 1), (2, 1)),
    5: ((1, 1), (0, 1), (2, 1)),
    6: ((1, -1), (0, 1), (2, 1)),
    7: ((1, -1), (0, -1), (2, 1)),
    8: ((1, 1), (0, -1), (2, 1)),
}
"""EXIF orientation -> nibabel's orientation from stored rows and columns to upright ones."""
_TEXTS = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # chunks of PNG that EXIF data may be in
_WITH_ALPHA = ("LA", "PA", "RGBA", "La", "RGBa")


def open_picture(file: BinaryIO, path: Path | str) -> Image.Image:
    """Reads a picture's header, as `PIL.Image.open` does but without its own limit of pixels, for `check_size` is ours.

    Raises:
        InputError: none of the formats, or more pixels than the limit.
    """
    Image.init()
    start = file.read(16)
    for name in _PILLOW_NAMES:
        factory, accept = Image.OPEN[name]
        if accept is not None and accept(start) is True:
            file.seek(0)
            picture = factory(file, str(path))
            shown = len(picture.getbands())
            check_size((picture.height, picture.width, 3 if picture.mode in ("P", "PA") else shown), path)
            return picture
    raise InputError(f"{path}: is not a picture, whatever its name says; PNG, JPEG, TIFF, BMP, WebP and GIF are read")


def exif_orientation(picture: Image.Image) -> Orientation | None:
    """How a picture is to be turned to be upright; None where it is, or where its EXIF data cannot be read."""
    with contextlib.suppress(Exception):  # EXIF blocks hold whatever their writers put there
        return ORIENTATIONS.get(picture.getexif().get(ORIENTATION_TAG, 1))
    return None


def picture_pixels(picture: Image.Image) -> np.ndarray:
    """A Pillow image of any mode as (rows, columns, 1 or 3), of the type that holds all its bits.

    Raises:
        InputError: a mode that has no grey or red, green and blue, such as LAB.
    """
    mode = picture.mode
    if mode in ("LAB", "HSV"):
        raise InputError(f"the picture holds {mode} colours; convert it to RGB")
    if mode == "F" or mode.startswith("I"):
        array = np.asarray(picture)
        if isinstance(clear := picture.info.get("transparency"), int):
            array = np.where(array == clear, 0, array).astype(array.dtype)
        return array[..., None]
    if mode in _WITH_ALPHA or "transparency" in picture.info:
        grey = mode in ("LA", "La", "L", "1")
        array = np.asarray(picture.convert("RGBA"))
        return lay_on_black(array[..., : 1 if grey else 3], array[..., 3:])
    return np.asarray(picture.convert("L"))[..., None] if mode in ("1", "L") else np.asarray(picture.convert("RGB"))


def _cmyk_without_adobe(picture: Image.Image) -> bool:
    """Pillow takes every JPEG of four inks for one of Adobe's, whose numbers are inverted."""
    return picture.format == "JPEG" and picture.mode == "CMYK" and "adobe" not in picture.info


def _check_pages(picture: Image.Image, path: Path) -> int:
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format != "MPO":  # a camera's MPO holds the picture first, then its previews
        raise InputError(f"{path}: holds {frames} pages; save the one to segment as a picture of its own")
    return frames


def _whole(file: BinaryIO) -> bytes:
    """All bytes of an open file, which is left where it was."""
    place = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(place)
    return content


def _decode(picture: Image.Image, file: BinaryIO, path: Path) -> np.ndarray:
    frames = _check_pages(picture, path)
    if picture.format == "PNG":
        array = imagecodecs.png_decode(_whole(file))
        array = array[..., None] if array.ndim == 2 else array
        return array if array.shape[-1] in (1, 3) else lay_on_black(array[..., :-1], array[..., -1:])
    if picture.format in ("JPEG", "MPO"):
        check_scans(_whole(file), frames, path)
    picture.load()
    if _cmyk_without_adobe(picture):
        picture = Image.fromarray(255 - np.asarray(picture), "CMYK")
    return picture_pixels(picture)


def _orientation(picture: Image.Image, file: BinaryIO) -> Orientation | None:
    """As `exif_orientation`, but a PNG is decoded for it only where something stands behind its pixels."""
    if picture.format != "PNG" or _has_text_behind_pixels(file):
        return exif_orientation(picture)
    with contextlib.suppress(Exception):
        return ORIENTATIONS.get(Image.Image.getexif(picture).get(ORIENTATION_TAG, 1))
    return None


def _has_text_behind_pixels(file: BinaryIO) -> bool:
    """Whether a PNG has chunks that may hold EXIF data behind its pixels; the file is left where it was."""
    place, at, behind, found = file.tell(), 8, False, False
    while not found:
        file.seek(at)
        start = file.read(8)
        if len(start) < 8 or start[4:] == b"IEND":
            break
        behind |= start[4:] == b"IDAT"
        found = behind and start[4:] in _TEXTS
        at += 12 + int.from_bytes(start[:4], "big")
    file.seek(place)
    return found


def read(paths: Sequence[Path], name: str) -> StoredImage:
    """Reads one picture of any bit depth: grey, palette or colour, with or without alpha, CMYK.

    Raises:
        InputError: not a picture, damaged, several pages, a form that cannot be shown, or more pixels than the limit.
    """
    (path,) = paths
    with reading(path, "a picture"), path.open("rb") as file:
        sha256 = open_file_sha256(file)
        if is_tiff(file):
            array, photometric, tag = read_tiff(file, path)
            orientation = ORIENTATIONS.get(tag)
        else:
            picture = open_picture(file, path)
            orientation = _orientation(picture, file)
            array = _decode(picture, file, path)
            photometric = "RGB" if array.shape[-1] == 3 else "MONOCHROME2"
    if orientation is not None:
        warnings.warn(
            f"{path}: is turned by its EXIF tag: segmented upright, the mask lies on the file's own pixels",
            InputWarning,
            stacklevel=2,
        )
    grid = StoredGrid(PICTURE, array.shape[:2], spatial=False, orientation=orientation)
    return grid.filled(array, {"uint8": array.dtype == np.uint8, "photometric": photometric}, sha256)


def read_grid(paths: Sequence[Path], name: str) -> StoredGrid:
    """Reads the header alone; raises what `read` raises for it."""
    (path,) = paths
    with reading(path, "a picture"), path.open("rb") as file:
        if is_tiff(file):
            shape, tag = tiff_shape(file, path)
            orientation = ORIENTATIONS.get(tag)
        else:
            picture = open_picture(file, path)
            _check_pages(picture, path)
            shape, orientation = (picture.height, picture.width), _orientation(picture, file)
    return StoredGrid(PICTURE, shape, spatial=False, orientation=orientation)


def write_mask(labels: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Writes grey PNG, whose pixel values are the labels."""
    Image.fromarray(labels).save(path, format="PNG")


def write_map(values: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Writes 16-bit grey PNG of 65535 times the value."""
    write_mask(np.round(values * 65535).astype(np.uint16), geometry, path)
