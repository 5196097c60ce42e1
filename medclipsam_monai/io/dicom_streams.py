"""What compressed pixels say of their own size: a header with another one is refused before they are decoded."""

from __future__ import annotations

import struct
from pathlib import Path

from medclipsam_monai.errors import InputError

_ITEM = b"\xfe\xff\x00\xe0"
_END = b"\xfe\xff\xdd\xe0"
_HEADER = 1 << 16  # bytes within which a stream says its size
_JPEG_START, _JPEG2000_START = b"\xff\xd8", b"\xff\x4f\xff\x51"
_CODING_STYLE = b"\xff\x52"
_FRAME_HEADERS = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7)


def check_stream(data: bytes | None, shape: tuple[int, ...], path: Path, jpeg: bool) -> None:
    """Refuses encapsulated pixels that cannot be what the header says.

    Args:
        data: the value of PixelData.
        shape: frames, rows and columns by the header.
        path: the file, for the message.
        jpeg: whether the stream is of the JPEG family, and says its own size.

    Raises:
        InputError: fewer fragments than frames, a fragment that is longer than the file, or a first frame of another
            size than the header's.
    """
    fragments = _fragments(data or b"", path)
    if len(fragments) < max(shape[0], 1):
        raise InputError(f"{path}: promises {shape[0]:,} frames, its compressed pixels have {len(fragments):,} parts")
    if not jpeg:
        return
    found = _stream_size(fragments[0])
    if found is None:
        raise InputError(f"{path}: cannot be read as a DICOM image: its compressed pixels are damaged")
    if found[0] and found != shape[1:3]:
        raise InputError(
            f"{path}: promises {shape[1]} x {shape[2]} pixels (rows x columns), its compressed pixels are "
            f"{found[0]} x {found[1]}"
        )


def stream_colours(data: bytes | None, stated: str) -> str:
    """What the three samples of a JPEG or JPEG 2000 stream are by the stream itself, which decoders need to know.

    Headers are often wrong here: the usual encoder makes YCbCr of what its caller calls RGB.

    Args:
        data: the value of PixelData.
        stated: the header's PhotometricInterpretation.

    Returns:
        "RGB" or a YBR form; ``stated`` where the stream says nothing.
    """
    frame = (_fragments(data or b"", Path()) or [b""])[0]
    at = frame.find(_JPEG2000_START)
    if at >= 0:
        place = frame.find(_CODING_STYLE, at)
        transformed = place >= 0 and frame[place + 8 : place + 9] == b"\1"
        return "YBR_RCT" if transformed else stated
    at = frame.find(_JPEG_START) + 2
    colours = None
    while 2 <= at < len(frame) - 4 and frame[at] == 0xFF:
        marker, length = frame[at + 1], struct.unpack(">H", frame[at + 2 : at + 4])[0]
        content = frame[at + 4 : at + 2 + length]
        if marker == 0xEE and content[:5] == b"Adobe" and len(content) > 11:
            colours = "RGB" if content[11] == 0 else "YBR_FULL"
        elif marker == 0xE0 and content[:5] == b"JFIF\0":
            colours = colours or "YBR_FULL"
        elif marker in (0xC0, 0xC1, 0xC2):
            return colours or ("RGB" if content[6::3][:3] == b"RGB" else stated)
        elif marker in _FRAME_HEADERS:
            break  # lossless forms hold what the header says
        at += 2 + length
    return stated


def _fragments(data: bytes, path: Path) -> list[bytes]:
    """The start of each fragment; the first item is the table of offsets. GDCM would take memory for any length."""
    starts, at = [], 0
    while data[at : at + 4] == _ITEM and at + 8 <= len(data):
        length = struct.unpack("<I", data[at + 4 : at + 8])[0]
        if length > len(data) - at - 8:
            raise InputError(f"{path}: cannot be read as a DICOM image: cut short within its compressed pixels")
        starts.append(data[at + 8 : at + 8 + min(length, _HEADER)])
        at += 8 + length
    if len(data) - at >= 8 and data[at : at + 4] != _END:
        raise InputError(f"{path}: cannot be read as a DICOM image: its compressed pixels are damaged")
    return starts[1:]


def _stream_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns by the stream's own header (JPEG, JPEG-LS, JPEG 2000); 0 rows where a later part tells."""
    try:
        start = frame.find(_JPEG2000_START)
        if start >= 0:
            right, bottom, left, top = struct.unpack(">4I", frame[start + 8 : start + 24])
            return bottom - top, right - left
        at = frame.index(_JPEG_START) + 2
        while frame[at] == 0xFF:
            marker, length = frame[at + 1], struct.unpack(">H", frame[at + 2 : at + 4])[0]
            if marker in _FRAME_HEADERS:
                rows, columns = struct.unpack(">2H", frame[at + 5 : at + 9])
                return rows, columns
            at += 2 + length
    except (struct.error, ValueError, IndexError):
        return None
    return None
