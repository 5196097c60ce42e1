"""DICOM headers: read without pixels, and refused before anything is done if they promise what a file cannot hold.

Only pydicom is imported here, so that finding images needs no model code.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.guard import reading
from medclipsam_monai.io.limits import check_size, largest_image

PLAIN_SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
"""Transfer syntaxes whose pixels are not compressed."""
_START = 4096  # bytes that tell what a file is
_LONG_LENGTH = (b"OB", b"OW", b"OF", b"OD", b"OL", b"SQ", b"UC", b"UN", b"UR", b"UT")
_ITEM = 8  # bytes that each compressed frame has besides its content
_MOST_RLE = 64  # two bytes stand for at most 128
_CHUNK = 1 << 20
_GROUP_LENGTH = b"\2\0\0\0"  # tag of the length of the file meta information
_META = 144  # bytes before what that length counts
_NO_IMAGES = ("SEG", "RTDOSE")


def looks_like_dicom(file: BinaryIO) -> bool:
    """Whether an open file has DICOM's mark, or begins with data elements as one without preamble does.

    The file is left at its start.
    """
    start = file.read(_START)
    file.seek(0)
    return start[128:132] == b"DICM" or _starts_with_elements(start)


def _starts_with_elements(start: bytes) -> bool:
    """Whether bytes are three data elements in rising order, the first in the groups that open every DICOM file."""
    order = ">" if start[:1] == b"\0" else "<"
    at, previous = 0, (0, -1)
    for number in range(3):
        if len(start) < at + 12:
            return False
        tag = struct.unpack(f"{order}HH", start[at : at + 4])
        letters = start[at + 4 : at + 6]
        if tag <= previous or (number == 0 and tag[0] not in (2, 8)) or tag[0] > 0x28:
            return False
        if letters in _LONG_LENGTH:
            header, length = 12, struct.unpack(f"{order}I", start[at + 8 : at + 12])[0]
        elif letters.isalpha() and letters.isupper():
            header, length = 8, struct.unpack(f"{order}H", start[at + 6 : at + 8])[0]
        else:
            header, length = 8, struct.unpack(f"{order}I", start[at + 4 : at + 8])[0]
        if length > _START:  # also of a sequence without a length; nothing that long stands so early
            return False
        at, previous = at + header + length, tag
    return True


def read_header(path: Path, tags: Sequence[str] | None = None) -> Dataset:
    """Reads a file's header without its pixels.

    Args:
        path: the file; it may lack the preamble and the file meta information.
        tags: keywords of the elements to read; all by default.

    Raises:
        InputError: not DICOM, damaged, or deflated from more bytes than the limit.
    """
    with reading(path, "a DICOM file"), path.open("rb") as file:
        return parse_header(file, path, tags)


def parse_header(file: BinaryIO, path: Path, tags: Sequence[str] | None = None) -> Dataset:
    """As `read_header`, of a file that is open at its start, where it is left.

    Raises:
        InputError: see `read_header`.
    """
    return _parse(file, path, stop_before_pixels=True, specific_tags=list(tags) if tags else None)


def parse_with_pixels(file: BinaryIO, path: Path) -> Dataset:
    """A whole file that is open at its start, where it is left; the pixels stay as they are stored.

    Raises:
        InputError: see `read_header`.
    """
    return _parse(file, path)


def _parse(file: BinaryIO, path: Path, **options: Any) -> Dataset:
    with reading(path, "a DICOM file"):
        start = file.read(_START)
        if DeflatedExplicitVRLittleEndian.encode() in start:
            _check_inflated(file, start, path)
        unmarked = start[128:132] != b"DICM" and _starts_with_elements(start)
        file.seek(0)
        header = pydicom.dcmread(file, force=unmarked, **options)
        file.seek(0)
        if unmarked and "SOPClassUID" not in header and "Rows" not in header and not options.get("specific_tags"):
            raise InputError(f"{path}: is not a DICOM file")
        return header


def _check_inflated(file: BinaryIO, start: bytes, path: Path) -> None:
    """Refuses a deflated file of more bytes than an image may have voxels, before they are in memory."""
    if start[132:136] != _GROUP_LENGTH:
        raise InputError(f"{path}: cannot be read as a DICOM file: it states no length of its file meta information")
    most, count = largest_image(), 0
    file.seek(_META + struct.unpack("<I", start[_META - 4 : _META])[0])
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    content = file.read(_CHUNK)
    while content and not inflate.eof:
        count += len(inflate.decompress(content, _CHUNK))
        content = inflate.unconsumed_tail or file.read(_CHUNK)
        if count > most:
            check_size([count], path)


def transfer_syntax(header: Dataset) -> str:
    """How a file is encoded; of one without file meta information as it was read."""
    stated = getattr(header, "file_meta", {}).get("TransferSyntaxUID", "")
    if stated:
        return str(stated)
    if getattr(header, "original_encoding", None):
        implicit, little = header.original_encoding
    else:
        implicit, little = header.is_implicit_VR, header.is_little_endian
    if implicit:
        return str(ImplicitVRLittleEndian)
    return str(ExplicitVRLittleEndian if little else ExplicitVRBigEndian)


def is_image(header: Dataset) -> bool:
    """Whether the object holds an image to segment: it has rows, and is not itself a segmentation or a dose."""
    return bool(header.get("Rows")) and str(header.get("Modality", "")) not in _NO_IMAGES


def check_whole(path: Path, header: Dataset) -> None:
    """Refuses a file of an image class that ends before it says how large the image is.

    Raises:
        InputError: it does.
    """
    kind = uid_name(getattr(header, "file_meta", {}).get("MediaStorageSOPClassUID", ""), "object")
    if "Rows" not in header and "Image Storage" in kind:
        raise InputError(f"{path}: is cut short: it ends within its header")


def kind_of_object(header: Dataset) -> str:
    """What an object is called: "Basic Text SR Storage"."""
    return uid_name(header.get("SOPClassUID"), "object")


def uid_name(uid: Any, otherwise: str) -> str:
    """What the standard calls a UID; pydicom would call one that is unknown by its value, and that may be anything."""
    known = UID_dictionary.get(str(uid))
    return known[0] if known else otherwise


def readable(header: Dataset, keyword: str) -> Any:
    """A value, None where it is not stated or breaks the rules of its element so that it cannot be read."""
    try:
        return header.get(keyword)
    except Exception:  # pydicom raises nearly every built-in exception on such values, and quotes them
        return None


def frame_count(header: Dataset) -> int:
    """Number of frames, 1 where unstated.

    Raises:
        InputError: not a positive number.
    """
    stated = header.get("NumberOfFrames") or 1
    count = int(stated)
    if count != stated:  # pydicom keeps 1.5 as it is
        raise InputError("states a NumberOfFrames that is no whole number")
    if count < 1:
        raise InputError(f"states {count} frames")
    return count


def check_promise(path: Path, header: Dataset) -> None:
    """Refuses a header that promises more pixels than the limit or than the file can hold.

    Raises:
        InputError: with the numbers.
    """
    sides = (frame_count(header), int(header.Rows), int(header.get("Columns") or 0))
    samples = int(header.get("SamplesPerPixel") or 1)
    if 0 in sides or samples not in (1, 3, 4):
        raise InputError(f"{path}: states {' x '.join(map(str, sides))} pixels of {samples} samples; expected 1 or 3")
    allocated, stored = (int(header.get(name) or 0) for name in ("BitsAllocated", "BitsStored"))
    if not (1 <= allocated <= 64 and 0 <= stored <= allocated):
        raise InputError(f"{path}: states {stored} of {allocated} bits a pixel; expected 1 to 64")
    syntax = transfer_syntax(header)
    if syntax == DeflatedExplicitVRLittleEndian:
        needed = 0  # its length says nothing
    elif syntax in PLAIN_SYNTAXES:
        needed = pixel_bytes(header, (*sides, samples))
    else:
        needed = sides[0] * _ITEM
        if syntax == RLELossless:
            needed = max(needed, pixel_bytes(header, (*sides, samples)) // _MOST_RLE)
    if path.stat().st_size < needed:
        raise InputError(
            f"{path}: cannot be read as a DICOM image: cut short, or its header promises too many pixels "
            f"({sides[0]:,} x {sides[1]:,} x {sides[2]:,})"
        )
    check_size((*sides, samples) if samples > 1 else sides, path)


def pixel_bytes(header: Dataset, shape: Sequence[int]) -> int:
    """How many bytes uncompressed pixels of a shape (frames, rows, columns, samples) take."""
    bits = math.prod(shape) * int(header.get("BitsAllocated") or 1)
    if header.get("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3
    return (bits + 7) // 8


def functional_group(header: Dataset, frame: int, sequence: str) -> Dataset | None:
    """A functional group of an enhanced multi-frame object: the frame's own, else the shared one."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    for holder in (*per_frame[frame : frame + 1], *shared[:1]):
        if holder.get(sequence):
            return holder[sequence][0]
    return None


def frame_value(header: Dataset, frame: int, sequence: str, name: str) -> Any:
    """A value of one frame: of its functional group, else of the header; None where it is stated nowhere."""
    group = functional_group(header, frame, sequence)
    value = group.get(name) if group is not None else None
    return header.get(name) if value is None else value


def numbers(value: Any, count: int) -> list[float] | None:
    """``count`` finite numbers of a header element, or None if they are not there."""
    if isinstance(value, str | bytes):  # a single value, whose letters are not numbers each
        return None
    try:
        found = [float(number) for number in value]
    except (TypeError, ValueError):
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def first_number(value: Any) -> float | None:
    """A finite number, or the first of several (windows come in lists)."""
    values = value if isinstance(value, list | tuple | MultiValue) else [value]
    try:
        found = float(values[0])
    except (TypeError, ValueError, IndexError):
        return None
    return found if math.isfinite(found) else None
