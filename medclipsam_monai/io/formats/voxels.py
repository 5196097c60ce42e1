"""Voxels of MetaImage and NRRD files: what a checked header says of them, and how they are read.

ITK itself ends the process on some damaged headers, so it never sees a file: `metaimage` and `nrrd` check every field,
and the voxels are read here with numpy, zlib and bz2. Memory is taken only for what the file can truly hold. Pixels in
another file are read only where that lies beside its header.
"""

from __future__ import annotations

import bz2
import math
import os
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.io.limits import check_size

MAX_HEADER = 2**20
"""Bytes; a longer text header is taken for damage."""
MOST_DEFLATED = 1032
"""A byte of zlib or gzip data becomes at most so many."""
FARTHEST = 2**28
"""Bytes; where voxels start behind these in decompressed data, the header is taken for damaged."""
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_PIECE = 2**20


Frame = dict[str, tuple[float, ...]]
"""Where voxels lie, as ITK has it: "spacing" in millimetres along each axis, "origin" of the first voxel in LPS
millimetres, and "direction", the axes' unit vectors as the columns of a matrix in LPS, row after row."""


@dataclass(frozen=True)
class VoxelHeader:
    """A MetaImage or NRRD header, checked.

    Attributes:
        sizes: voxels along each of the 2 or 3 axes, the fastest in the file first.
        channels: numbers a voxel.
        channel_axis: place of the channels among the file's axes, the fastest first.
        dtype: of one number, with its byte order.
        encoding: "raw", "zlib" (gzip too), "bzip2", "text" or "hex".
        data: the file that holds the voxels: the header's own, or one beside it.
        start: the byte at which they start; None for the last bytes of the file.
        frame: where they lie.
        length: bytes that they take where the header says so, for compressed ones.
        skip_lines: lines to leave out from there on.
        skip_bytes: bytes to leave out after those, counted in the decompressed data.
    """

    sizes: tuple[int, ...]
    channels: int
    channel_axis: int
    dtype: np.dtype
    encoding: str
    data: Path
    start: int | None
    frame: Frame
    length: int | None = None
    skip_lines: int = 0
    skip_bytes: int = 0


def header_text(head: bytes, path: Path) -> str:
    """The text of a header.

    Raises:
        InputError: bytes that are no text.
    """
    if b"\0" in head:
        raise InputError(f"{path}: its header holds bytes that are no text, it may be damaged")
    return head.decode("utf-8", errors="replace")


def whole_numbers(text: str, field: str, path: Path) -> tuple[int, ...]:
    """The whole numbers of a field.

    Raises:
        InputError: anything else is in it.
    """
    words = text.split()
    if not words or not all(word.lstrip("+-").isdecimal() and word.isascii() and len(word) < 20 for word in words):
        raise InputError(f"{path}: {field} must be whole numbers, got {text[:60]!r}")
    return tuple(map(int, words))


def finite_numbers(text: str, count: int, field: str, path: Path) -> tuple[float, ...]:
    """The numbers of a field.

    Raises:
        InputError: not ``count`` of them, or one that is not finite.
    """
    try:
        numbers = tuple(float(word) for word in text.split())
    except ValueError:
        numbers = ()
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise InputError(f"{path}: {field} must be {count} finite numbers, got {text[:60]!r}")
    return numbers


def check_axes(sizes: tuple[int, ...], channels: int, path: Path) -> None:
    """Refuse what is no 2-D or 3-D image, before memory is taken.

    Raises:
        InputError: another number of axes, an axis without voxels, more voxels than `check_size` lets pass.
    """
    if len(sizes) not in (2, 3) or min(sizes) < 1 or channels < 1:
        raise InputError(f"{path}: must be a 2-D or 3-D image, got size {sizes}; save one 3-D image of it")
    check_size(sizes if channels == 1 else (*sizes, channels), path)


def data_beside(path: Path, name: str) -> Path:
    """The file beside a header that holds its voxels.

    Args:
        path: the header.
        name: the file as the header names it.

    Raises:
        InputError: a name that is a path, a list or a pattern; a link out of the folder; no such file.
    """
    plain = name.removeprefix("./")
    if not plain or plain.split()[0] == "LIST" or "%" in plain or "\0" in plain:
        raise InputError(f"{path}: names several data files ({name[:60]!r}); save the image with one")
    data = path.parent / plain
    if plain in (".", "..") or any(mark in plain for mark in "/\\:"):
        raise InputError(f"{path}: its data file must lie beside it and be named without a folder, got {name[:60]!r}")
    if not data.is_file():
        raise InputError(f"{path}: cannot be read, its data file {plain!r} is not beside it")
    if data.resolve().parent != path.parent.resolve():
        raise InputError(f"{path}: its data file {plain!r} is a link to another folder; put the file itself beside it")
    return data


def warn_of_more(path: Path) -> None:
    """Warns that a file is larger than it says: its header may be damaged."""
    message = f"{path}: holds more data than its header promises; they are not read"
    warnings.warn(message, InputWarning, stacklevel=3)


def cut_short(path: Path, promised: int, held: int) -> InputError:
    """The error of a file that holds fewer bytes than its header promises."""
    return InputError(
        f"{path}: cannot be read as an image, it is cut short or damaged: its header promises {promised:,} bytes, "
        f"it holds {held:,}"
    )


def _pieces(content: bytes, encoding: str) -> Iterator[bytes]:
    """Decompressed data, a piece at a time; gzip and bzip2 data may come in several parts."""
    make = partial(zlib.decompressobj, _GZIP_OR_ZLIB) if encoding == "zlib" else bz2.BZ2Decompressor
    decoder: Any = make()
    at = 0
    while at < len(content):
        packed: bytes | None = content[at : at + _PIECE]
        at += len(packed or b"")
        while packed is not None:
            piece = decoder.decompress(packed, _PIECE)
            yield piece
            left = getattr(decoder, "unconsumed_tail", b"")  # bz2 keeps what is left by itself
            packed = left if not decoder.eof and (left or len(piece) == _PIECE) else None
        if decoder.eof:
            at -= len(decoder.unused_data)
            if not content[at : at + _PIECE].strip(b"\0\r\n"):
                return
            decoder = make()


def _decompress(content: bytes, header: VoxelHeader, count: int, path: Path) -> tuple[np.ndarray, bool]:
    """The stored numbers, and whether there is more; the checksum is compared where they end the data."""
    wanted, done = count * header.dtype.itemsize, -header.skip_bytes
    promised = wanted + header.skip_bytes
    if header.encoding == "zlib" and len(content) * MOST_DEFLATED < promised:
        raise cut_short(path, promised, len(content))
    numbers = bytearray()  # which grows with what is there, not with what is promised
    for piece in _pieces(content, header.encoding):
        numbers += memoryview(piece)[max(0, -done) : max(0, wanted - done)]
        done += len(piece)
        if done > wanted:
            break
    if done < wanted:
        raise cut_short(path, promised, done + header.skip_bytes)
    return np.frombuffer(numbers, header.dtype), done > wanted


def _text_numbers(content: bytes, count: int, dtype: np.dtype, path: Path) -> np.ndarray:
    words = content.split(None, count)[:count]
    if len(words) < count:
        raise InputError(
            f"{path}: cannot be read as an image, it is cut short or damaged: its header promises {count:,} numbers, "
            f"it holds {len(words):,}"
        )
    values = np.array([float(word) for word in words])
    numbers = values.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(numbers, values):
        raise InputError(f"{path}: holds numbers that are no {dtype.name}")
    return numbers


def _skip_lines(content: bytes, lines: int, path: Path) -> bytes:
    for _ in range(lines):
        _, found, content = content.partition(b"\n")
        if not found:
            raise InputError(f"{path}: its header leaves out more lines than it holds")
    return content


def _raw_numbers(header: VoxelHeader, file: BinaryIO, count: int, path: Path) -> tuple[np.ndarray, bool]:
    size, wanted = os.fstat(file.fileno()).st_size, count * header.dtype.itemsize
    if header.start is None:
        start = size - wanted
    else:
        start = header.start + header.skip_bytes
    if start < 0 or size - start < wanted:
        raise cut_short(path, wanted, max(0, size - max(0, start)))
    file.seek(start)
    numbers = np.empty(count, header.dtype)
    held = file.readinto(numbers.view(np.uint8).data)  # type: ignore[attr-defined]
    if held < wanted:
        raise cut_short(path, wanted, held)
    return numbers, size - start > wanted


def _numbers(header: VoxelHeader, file: BinaryIO, count: int, path: Path) -> tuple[np.ndarray, bool]:
    """The stored numbers, and whether the file holds more than those."""
    if header.encoding == "raw" and not header.skip_lines:
        return _raw_numbers(header, file, count, path)
    held = os.fstat(file.fileno()).st_size - (header.start or 0)
    if held < (header.length or 0):
        raise cut_short(path, header.length or 0, max(0, held))
    file.seek(header.start or 0)
    content = _skip_lines(file.read(-1 if header.length is None else header.length), header.skip_lines, path)
    if header.encoding == "text":
        return _text_numbers(content[header.skip_bytes :], count, header.dtype, path), False
    wanted = header.skip_bytes + count * header.dtype.itemsize
    if header.encoding == "hex":
        content = bytes.fromhex(content.decode("ascii"))
    elif header.encoding != "raw":
        return _decompress(content, header, count, path)
    if len(content) < wanted:
        raise cut_short(path, wanted, len(content))
    return np.frombuffer(content, header.dtype, count, offset=header.skip_bytes), len(content) > wanted


def read_voxels(header: VoxelHeader, file: BinaryIO, path: Path) -> tuple[np.ndarray, bool]:
    """The voxels of a checked header, in its own byte order.

    Args:
        header: from `metaimage` or `nrrd`.
        file: ``header.data``, open.
        path: the header's file, for messages.

    Returns:
        (x, y[, z], channels), axes in the order of ``sizes``, and whether the file holds more than those.

    Raises:
        InputError: damaged or cut short.
        zlib.error, OSError, ValueError: damaged.
    """
    axes = list(header.sizes)
    axes.insert(header.channel_axis, header.channels)
    numbers, more = _numbers(header, file, math.prod(axes), path)
    array = np.moveaxis(numbers.reshape(axes, order="F"), header.channel_axis, -1)
    return array.astype(header.dtype.newbyteorder("="), copy=False), more
