"""Writers of pictures that Pillow and tifffile do not write: PNG of any depth, TIFF with any tags."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
TIFF_TYPES = {"H": 3, "I": 4}


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png(path: Path, values: np.ndarray, bits: int, colour_type: int, chunks: Sequence[bytes] = ()) -> Path:
    """Values (rows, columns[, channels]) as PNG of a depth and colour type, with chunks before the pixels."""
    rows, columns = values.shape[:2]
    lines = b"".join(b"\0" + pack(row, bits) for row in values)
    header = struct.pack(">IIBBBBB", columns, rows, bits, colour_type, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + b"".join(chunks) + png_chunk(b"IDAT", zlib.compress(lines))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b""))
    return path


def pack(row: np.ndarray, bits: int) -> bytes:
    """A row of numbers of 1 to 16 bits, most significant first, filled up to a whole byte."""
    flat = row.reshape(-1).astype(np.int64)
    return np.packbits(((flat[:, None] >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8).ravel()).tobytes()


def write_tiff(path: Path, data: bytes, tags: Mapping[int, tuple[str, Sequence[int]]]) -> Path:
    """A little-endian TIFF of one strip; tags are number -> (struct code "H" or "I", values)."""
    tags = {**tags, 273: ("I", [8]), 279: ("I", [len(data)])}
    data += b"\0" * (len(data) % 2)
    directory, extra = struct.pack("<H", len(tags)), b""
    after = 8 + len(data) + 2 + 12 * len(tags) + 4
    for number, (code, values) in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}{code}", *values)
        if len(packed) > 4:
            packed, extra = struct.pack("<I", after + len(extra)), extra + packed
        directory += struct.pack("<HHI", number, TIFF_TYPES[code], len(values)) + packed.ljust(4, b"\0")
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + b"\0" * 4 + extra)
    return path


def tiff_tags(
    rows: int, columns: int, photometric: int | None, bits: Sequence[int], **more: tuple[str, Sequence[int]]
) -> dict[int, tuple[str, Sequence[int]]]:
    """The tags every picture needs; others by their number as "t338"."""
    tags: dict[int, tuple[str, Sequence[int]]] = {
        256: ("H", [columns]),
        257: ("H", [rows]),
        258: ("H", bits),
        259: ("H", [1]),
        277: ("H", [len(bits)]),
        278: ("H", [rows]),
    }
    if photometric is not None:
        tags[262] = ("H", [photometric])
    return {**tags, **{int(name[1:]): value for name, value in more.items()}}
