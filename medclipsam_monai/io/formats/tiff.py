"""Reads TIFF pictures with tifffile, which knows more sample types than Pillow and keeps all their bits.

What every number means is looked up in the file (TIFF 6.0, section 8): its photometric interpretation, sample format,
bits and extra samples. A form that has no clear meaning as a picture is refused by its name.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, SAMPLEFORMAT

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.dicom.jpeg_streams import HEADER, check_scans, stream_size
from medclipsam_monai.io.limits import check_size

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_COLOURS = {
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.SEPARATED: 4,
    PHOTOMETRIC.YCBCR: 3,
}
"""Photometric interpretations that are read -> samples that are colour."""
_NAMES = {
    PHOTOMETRIC.MASK: "is a transparency mask",
    PHOTOMETRIC.CIELAB: "holds CIELab colours",
    PHOTOMETRIC.ICCLAB: "holds ICCLab colours",
    PHOTOMETRIC.ITULAB: "holds ITULab colours",
    PHOTOMETRIC.CFA: "holds a camera's raw colour filter array",
    PHOTOMETRIC.LOGL: "holds logarithms of luminance (LogL)",
    PHOTOMETRIC.LOGLUV: "holds logarithms of luminance (LogLuv)",
}
_FORMATS = {int(form): form.name for form in SAMPLEFORMAT}
_BITS = {"UINT": (*range(1, 17), 32, 64), "INT": (8, 16, 32, 64), "IEEEFP": (16, 32, 64)}
_JPEG = (COMPRESSION.OJPEG, COMPRESSION.JPEG, COMPRESSION.JPEG_LOSSY)
_JPEG2000 = (
    COMPRESSION.APERIO_JP2000_YCBC,
    COMPRESSION.JPEG_2000_LOSSY,
    COMPRESSION.APERIO_JP2000_RGB,
    COMPRESSION.JPEG2000,
)
_COMPRESSIONS = (
    *(COMPRESSION.NONE, COMPRESSION.LZW, COMPRESSION.PACKBITS, COMPRESSION.LZMA, COMPRESSION.ZSTD),
    *(COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE),
    *(COMPRESSION(code) for code in (2, 3, 4)),  # of CCITT, by number: their names changed
)
"""Compressions that are decoded into the room that the page has, and not into what they say themselves."""
_INK_SET, _CMYK = 332, 1
_BLOCK = 16  # pixels; JPEG may round up to whole ones
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_MOST_PAGES = 64  # of a pyramid's smaller copies there are never so many


def is_tiff(file: BinaryIO) -> bool:
    """Whether an open file starts as TIFF or BigTIFF of either byte order; it is left at its start."""
    start = file.read(4)
    file.seek(0)
    return start in _MAGIC


def lay_on_black(colours: np.ndarray, alpha: np.ndarray, opaque: float | None = None) -> np.ndarray:
    """Colours (..., C) under an opacity (..., 1) over black.

    Args:
        colours: unsigned or float.
        alpha: unsigned or float.
        opaque: the opacity that is full; None for the largest number of its type, 1 for floats.
    """
    if opaque is None:
        opaque = 1.0 if alpha.dtype.kind == "f" else float(np.iinfo(alpha.dtype).max)
    laid = colours * np.clip(alpha / opaque, 0, 1)
    return (laid if colours.dtype.kind == "f" else np.rint(laid)).astype(colours.dtype)


def read_tiff(file: BinaryIO, path: Path) -> tuple[np.ndarray, str, int]:
    """Reads the one picture of a TIFF file.

    Returns:
        The stored pixels (rows, columns, 1 or 3); "RGB", "MONOCHROME2" or, where large numbers are dark,
        "MONOCHROME1"; and the orientation tag, 1 where there is none.

    Raises:
        InputError: several pages, a form that is not read, or more pixels than the limit.
    """
    with tifffile.TiffFile(file, name=path.name) as tiff:
        page = _only_page(tiff, path)
        _check(page, path)
        _check_segments(page, file, path)
        _check_streams(page, file, path)
        array = page.asarray(maxworkers=1)
        colours, alpha = _samples(_channels_last(array, page), page, path)
        array, photometric = _meaning(colours, alpha, page, path)
        return array, photometric, page.tags.valueof(274, 1)


def tiff_shape(file: BinaryIO, path: Path) -> tuple[tuple[int, int], int]:
    """Rows and columns of the one picture of a TIFF file, and its orientation tag; raises as `read_tiff` does."""
    with tifffile.TiffFile(file, name=path.name) as tiff:
        page = _only_page(tiff, path)
        _check(page, path)
        return (page.imagelength, page.imagewidth), page.tags.valueof(274, 1)


def _only_page(tiff: tifffile.TiffFile, path: Path) -> Any:
    """The page that is no smaller copy and no mask of another one; ImageJ and others hide more behind the first."""
    if len(tiff.pages) > _MOST_PAGES:
        raise InputError(f"{path}: holds {len(tiff.pages)} pages; save the one to segment as a picture of its own")
    pages = [page.aspage() for page in tiff.pages]
    full = [page for page in pages if not page.tags.valueof(254, 0) & (_REDUCED | _MASK)] or pages[:1]
    if not full:
        raise InputError(f"{path}: holds no picture")
    hidden = [(tiff.imagej_metadata or {}).get("images", 1), (tiff.stk_metadata or {}).get("NumberPlanes", 1)]
    for described in tiff.shaped_metadata or ():
        hidden.append(math.prod(described.get("shape", ())) // max(1, math.prod(full[0].shape)))
    count = max(len(full), *(int(number) for number in hidden))
    if count > 1:
        raise InputError(f"{path}: holds {count} pages; save the one to segment as a picture of its own")
    return full[0]


def _check(page: Any, path: Path) -> None:
    """Refuse what cannot be shown, before memory is taken."""
    if page.tags.get(262) is None:
        raise InputError(f"{path}: does not say what its numbers mean (no photometric interpretation)")
    kind = page.photometric
    if kind not in _COLOURS:
        what = _NAMES.get(kind, f"has the photometric interpretation {getattr(kind, 'name', kind)}")
        raise InputError(f"{path}: {what}; save it as grey or RGB")
    if kind == PHOTOMETRIC.SEPARATED and page.tags.valueof(_INK_SET, _CMYK) != _CMYK:
        raise InputError(f"{path}: holds inks other than CMYK; save it as RGB")
    if kind == PHOTOMETRIC.YCBCR and page.compression not in _JPEG:
        raise InputError(f"{path}: holds YCbCr colours that are not JPEG; save it as RGB")
    _check_samples(page, path)
    check_size((*page.shape, 3) if kind == PHOTOMETRIC.PALETTE else page.shape, path)
    if page.imagedepth > 1:
        raise InputError(f"{path}: holds a volume of {page.imagedepth} slices; save the one to segment as a picture")
    if page.is_tiled:
        check_size((page.tilelength, page.tilewidth, page.samplesperpixel), path)


def _check_samples(page: Any, path: Path) -> None:
    """Refuse sample types that have no order of bytes or no order of brightness."""
    form, bits = _FORMATS.get(page.sampleformat, str(page.sampleformat)), page.bitspersample
    if form in ("COMPLEXINT", "COMPLEXIEEEFP"):
        raise InputError(f"{path}: holds complex numbers; save their magnitude")
    if page.dtype is None or bits not in _BITS.get(form, ()):
        raise InputError(f"{path}: holds samples of {bits} bits in the format {form}; save it as 8 or 16 bits")


def _check_segments(page: Any, file: BinaryIO, path: Path) -> None:
    """tifffile fills what is missing with zeros; here it is damage."""
    size = file.seek(0, 2)
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if not parts or any(count <= 0 or offset + count > size for offset, count in parts):
        raise InputError(f"{path}: cannot be read as a picture, it may be damaged or cut short (strips are missing)")


def _check_streams(page: Any, file: BinaryIO, path: Path) -> None:
    """Refuses segments that say of themselves that they are larger than the page's, before memory is taken."""
    if page.compression in _COMPRESSIONS:
        return
    if page.compression not in (*_JPEG, *_JPEG2000):
        name = getattr(page.compression, "name", page.compression)
        raise InputError(f"{path}: is compressed by {name}, which is not read; save it with LZW")
    rows = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
    columns = page.tilewidth if page.is_tiled else page.imagewidth
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(offset)
        content = file.read(count)
        found = stream_size(content[:HEADER])
        if found is None or found[0] >= rows + _BLOCK or found[1] >= columns + _BLOCK:
            raise InputError(f"{path}: cannot be read as a picture, a strip's own size is not the page's")
        check_scans(content, 1, path)


def _channels_last(array: np.ndarray, page: Any) -> np.ndarray:
    """(rows, columns, samples), whichever way the file orders them."""
    shaped = array.reshape(page.shaped)  # separate samples, depth, rows, columns, samples together
    return np.concatenate([plane[0] for plane in shaped], axis=-1)


def _samples(array: np.ndarray, page: Any, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The samples that are colour, and the opacity where it has yet to be applied."""
    colours = _COLOURS[page.photometric]
    extras = page.extrasamples
    if array.shape[-1] != colours + len(extras) or (extras and colours == 1 and extras[0] == EXTRASAMPLE.UNSPECIFIED):
        raise InputError(
            f"{path}: holds {array.shape[-1]} samples a pixel, of which {colours} are expected; save it as grey or RGB"
        )
    if EXTRASAMPLE.UNASSALPHA not in extras:
        return array[..., :colours], None  # colours with an associated alpha are already on black
    place = colours + extras.index(EXTRASAMPLE.UNASSALPHA)
    return array[..., :colours], array[..., place : place + 1]


def _to_eight_bits(array: np.ndarray, bits: int) -> np.ndarray:
    """Numbers of fewer than 8 bits, spread over 0..255."""
    return np.rint(array * (255 / (2**bits - 1))).astype(np.uint8) if bits < 8 else array


def _meaning(colours: np.ndarray, alpha: np.ndarray | None, page: Any, path: Path) -> tuple[np.ndarray, str]:
    """Stored samples as grey or RGB, with the photometric name that `DisplayRange` knows."""
    kind, bits, unsigned = page.photometric, page.bitspersample, colours.dtype.kind in "bu"
    if alpha is not None and not (unsigned or colours.dtype.kind == "f"):
        raise InputError(f"{path}: holds an opacity of signed numbers; save it without alpha")
    if kind == PHOTOMETRIC.PALETTE:
        colours = _look_up(colours[..., 0], page.colormap, path)
    elif unsigned:
        colours = _to_eight_bits(colours, bits)
    if alpha is not None and unsigned:
        alpha = _to_eight_bits(alpha, bits)
    most = float(2 ** max(bits, 8) - 1)
    photometric = "RGB" if colours.shape[-1] == 3 else "MONOCHROME2"
    if kind == PHOTOMETRIC.SEPARATED:
        colours, photometric = _from_inks(colours, most, path), "RGB"
    elif kind == PHOTOMETRIC.MINISWHITE and unsigned and bits <= 16:
        colours = (most - colours).astype(colours.dtype)
    elif kind == PHOTOMETRIC.MINISWHITE and alpha is None:
        photometric = "MONOCHROME1"  # a display window finds the white end of large and of signed numbers
    elif kind == PHOTOMETRIC.MINISWHITE:
        raise InputError(f"{path}: is transparent and white is zero in {colours.dtype}; save it without alpha")
    if alpha is not None:
        colours = lay_on_black(colours, alpha, most if unsigned else 1.0)
    return np.ascontiguousarray(colours), photometric


def _look_up(indices: np.ndarray, palette: np.ndarray | None, path: Path) -> np.ndarray:
    """Palette colours as 8 bits; some writers fill the 16-bit table with 8-bit values."""
    if palette is None or indices.dtype.kind not in "bu" or indices.max(initial=0) >= palette.shape[-1]:
        raise InputError(f"{path}: holds numbers that its palette has no colour for")
    colours = (palette >> 8 if palette.max(initial=0) > 255 else palette).astype(np.uint8)
    return colours[:, indices.astype(np.intp)].transpose(1, 2, 0)


def _from_inks(inks: np.ndarray, most: float, path: Path) -> np.ndarray:
    """CMYK to RGB: each ink takes its share of the light, without a colour profile, as Pillow converts it."""
    if inks.dtype.kind != "u":
        raise InputError(f"{path}: holds CMYK inks as {inks.dtype}; save it as RGB")
    light = 1 - inks / most
    return np.rint(light[..., :3] * light[..., 3:] * most).astype(inks.dtype)
