"""What compressed pixels say of their own size: a header with another one is refused before they are decoded."""

from __future__ import annotations

import struct
from pathlib import Path

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.dicom import jpeg_streams
from medclipsam_monai.io.dicom.jpeg_streams import HEADER, check_scans, starts_stream, stream_size

_ITEM = b"\xfe\xff\x00\xe0"
_END = b"\xfe\xff\xdd\xe0"
_RLE_HEADER = 64


def check_stream(data: bytes | None, shape: tuple[int, ...], frame_bytes: int, path: Path, jpeg: bool) -> None:
    """Refuses encapsulated pixels that cannot be what the header says.

    Args:
        data: the value of PixelData.
        shape: frames, rows and columns by the header.
        frame_bytes: of an uncompressed frame.
        path: the file, for the message.
        jpeg: whether the stream is of the JPEG family, and says its own size.

    Raises:
        InputError: fewer fragments than frames, a fragment that is longer than the file, a frame of another
            size than the header's, or one that is longer than run-length encoding could make it.
    """
    fragments = _fragments(data or b"", path)
    if len(fragments) < max(shape[0], 1):
        raise InputError(
            f"{path}: cannot be read as a DICOM image: promises {shape[0]:,} frames, its compressed pixels have "
            f"{len(fragments):,} parts"
        )
    if not jpeg:
        longest = max(length for length, _ in fragments)
        if longest > 2 * (_RLE_HEADER + frame_bytes):  # pydicom would decode all of it
            raise InputError(f"{path}: has a compressed frame of {longest:,} bytes for {frame_bytes:,} bytes of pixels")
        return
    check_scans(data or b"", len(fragments), path)
    for number, (_, start) in enumerate(fragments):
        if number == 0 or starts_stream(start):  # others go on with the frame before
            _check_frame(start, shape, path)


def _check_frame(start: bytes, shape: tuple[int, ...], path: Path) -> None:
    found = stream_size(start)
    if found is None:
        raise InputError(f"{path}: cannot be read as a DICOM image: its compressed pixels are damaged")
    if found[0] and found != shape[1:3]:
        raise InputError(
            f"{path}: promises {shape[1]} x {shape[2]} pixels (rows x columns), its compressed pixels are "
            f"{found[0]} x {found[1]}"
        )


def stream_colours(data: bytes | None, stated: str) -> str:
    """What the three samples of compressed pixels are by their first stream, see `jpeg_streams.stream_colours`.

    Args:
        data: the value of PixelData.
        stated: the header's PhotometricInterpretation.
    """
    fragments = _fragments(data or b"", Path())
    return jpeg_streams.stream_colours(fragments[0][1], stated) if fragments else stated


def _fragments(data: bytes, path: Path) -> list[tuple[int, bytes]]:
    """Length and start of each fragment, the table of offsets left out. GDCM would take memory for any length."""
    found, at = [], 0
    while data[at : at + 4] == _ITEM and at + 8 <= len(data):
        length = struct.unpack("<I", data[at + 4 : at + 8])[0]
        if length > len(data) - at - 8:
            raise InputError(f"{path}: cannot be read as a DICOM image: cut short within its compressed pixels")
        found.append((length, data[at + 8 : at + 8 + min(length, HEADER)]))
        at += 8 + length
    if len(data) - at >= 8 and data[at : at + 4] != _END:
        raise InputError(f"{path}: cannot be read as a DICOM image: its compressed pixels are damaged")
    return found[1:]
