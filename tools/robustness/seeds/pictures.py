"""Small valid PNG, TIFF and JPEG files, and the kinds of pictures that are read besides."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, PngImagePlugin

from tools.robustness.seeds.values import numbers

_ORIENTATION = 0x0112


def encoded(picture: Image.Image, form: str, **options: Any) -> bytes:
    """A picture as the bytes of a file."""
    file = io.BytesIO()
    picture.save(file, format=form, **options)
    return file.getvalue()


def _grey() -> Image.Image:
    return Image.fromarray(numbers((16, 20), np.uint8))


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    return exif


def _interlaced_png() -> bytes:
    """Adam7, which Pillow does not write: a grey picture of 8 x 8, pass by pass."""
    pixels = numbers((8, 8), np.uint8)
    starts = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    passes = (pixels[row::down, column::right] for row, column, down, right in starts)
    lines = b"".join(b"\0" + line.tobytes() for part in passes for line in part)
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1)), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    body = (struct.pack(">I", len(data)) + kind + data for kind, data in chunks)
    sums = (struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(part + number for part, number in zip(body, sums, strict=True))


def png_files() -> Iterator[bytes]:
    """Every mode, 16 bits, transparent colours, texts, an orientation, interlaced."""
    for mode in ("L", "RGB", "P", "LA", "RGBA", "1"):
        yield encoded(_grey().convert(mode), "PNG")
    yield encoded(Image.fromarray(numbers((16, 20), np.uint16) * 300), "PNG")
    yield bytes(imagecodecs.png_encode(numbers((16, 20, 3), np.uint16) * 300))
    yield encoded(_grey(), "PNG", transparency=20)
    yield encoded(_grey().convert("P"), "PNG", transparency=bytes(range(0, 256, 4)))
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "a phantom", zip=True)
    texts.add_itxt("Comment", "none", lang="en")
    yield encoded(_grey().convert("RGB"), "PNG", pnginfo=texts, exif=_turned(), dpi=(96, 96))
    yield _interlaced_png()


def _tiff(pixels: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, metadata=None, **options)
    return file.getvalue()


def tiff_files() -> Iterator[bytes]:
    """Every mode and packing, strips and tiles, both orders of bytes, BigTIFF, several samples a pixel."""
    for mode in ("L", "RGB", "P", "CMYK", "1", "F", "I"):
        yield encoded(_grey().convert(mode), "TIFF")
    deep = Image.fromarray(numbers((16, 20), np.uint16) * 300)
    for packing in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        yield encoded(deep, "TIFF", compression=packing)
    yield encoded(_grey().convert("RGB"), "TIFF", compression="jpeg")
    yield encoded(_grey().convert("1"), "TIFF", compression="group4")
    yield _tiff(numbers((40, 36), np.uint8), tile=(16, 16), compression="zlib", predictor=2)
    yield _tiff(numbers((16, 20), np.uint16), byteorder=">", rowsperstrip=5)
    yield _tiff(numbers((16, 20), np.float32), bigtiff=True, compression="zstd", predictor=3)
    yield _tiff(numbers((3, 16, 20), np.uint8), planarconfig="separate", photometric="rgb")
    yield _tiff(numbers((16, 20, 4), np.uint8), photometric="rgb", extrasamples=["unassalpha"], compression="lzma")
    yield _tiff(numbers((16, 20), np.uint8), photometric="miniswhite", compression="jpeg2000")
    yield _tiff(numbers((16, 20), np.int16), extratags=[(274, 3, 1, 6, True)])
    file = io.BytesIO()
    tifffile.imwrite(file, numbers((16, 20), np.uint8), imagej=True, resolution=(2, 2))
    yield file.getvalue()


def jpeg_files() -> Iterator[bytes]:
    """Every number of colours, progressive, turned, with marks to go on from, 12 bits, several pictures in a file."""
    for mode in ("L", "RGB", "CMYK"):
        yield encoded(_grey().convert(mode), "JPEG")
    yield encoded(_grey().convert("RGB"), "JPEG", progressive=True)
    yield encoded(_grey(), "JPEG", exif=_turned())
    yield encoded(_grey().convert("RGB"), "JPEG", subsampling=2, restart_marker_blocks=1, comment=b"a phantom")
    yield encoded(_grey().convert("RGB"), "MPO", save_all=True, append_images=[_grey().convert("RGB").resize((8, 8))])


def other_pictures() -> Iterator[bytes]:
    """BMP, GIF and WebP, which are read whatever the file's name says."""
    for mode in ("L", "RGB", "P", "1"):
        yield encoded(_grey().convert(mode), "BMP")
    yield encoded(_grey(), "GIF")
    yield encoded(_grey().convert("P"), "GIF", transparency=3, interlace=True)
    yield encoded(_grey().convert("RGB"), "WEBP", lossless=True)
    yield encoded(_grey().convert("RGBA"), "WEBP", exif=_turned())
