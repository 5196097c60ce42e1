"""What streams of the JPEG family say of themselves, read before a decoder takes memory and time for them.

Whatever wraps them (TIFF, DICOM) states a size too, and decoders believe the stream.
"""

from __future__ import annotations

import struct
from pathlib import Path

from medclipsam_monai.base.errors import InputError

HEADER = 1 << 16
"""Bytes within which a stream says its size."""
MOST_SCANS = 500
"""Of a picture. Each is gone through in full, and takes a few bytes in the file; encoders write ten or so."""
_JPEG_START, _JPEG2000_START, _JP2_START = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "
_CODING_STYLE = b"\xff\x52"
_SCAN = b"\xff\xda"
_FRAME_HEADERS = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7)


def starts_stream(data: bytes) -> bool:
    """Whether bytes begin as JPEG, JPEG-LS or JPEG 2000."""
    return data.startswith((_JPEG_START, _JPEG2000_START, _JP2_START))


def stream_size(frame: bytes) -> tuple[int, int] | None:
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


def stream_colours(frame: bytes, stated: str) -> str:
    """What the three samples of a stream are by the stream itself, which decoders need to know.

    Headers are often wrong here: the usual encoder makes YCbCr of what its caller calls RGB.

    Args:
        frame: the start of a JPEG or JPEG 2000 stream.
        stated: DICOM's PhotometricInterpretation of it.

    Returns:
        "RGB" or a YBR form; ``stated`` where the stream says nothing.
    """
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


def check_scans(content: bytes, pictures: int, path: Path) -> None:
    """Refuses JPEG data that would take hours to decode.

    Args:
        content: all of it, which holds the mark of a scan nowhere else.
        pictures: how many there are in it.
        path: the file, for the message.

    Raises:
        InputError: more scans than `MOST_SCANS` a picture.
    """
    scans = content.count(_SCAN)
    if scans > MOST_SCANS * max(pictures, 1):
        raise InputError(f"{path}: is a JPEG of {scans:,} scans; at most {MOST_SCANS} a picture are decoded")
