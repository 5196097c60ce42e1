"""Headers of MetaImage files (.mha, .mhd), checked field by field: https://itk.org/Wiki/MetaIO/Documentation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.formats.voxels import (
    Frame,
    VoxelHeader,
    check_axes,
    data_beside,
    finite_numbers,
    header_text,
    whole_numbers,
)

_TYPES: Mapping[str, str] = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_DATA_FILE = re.compile(rb"^[ \t]*ElementDataFile[ \t]*[=:][ \t]*([^\r\n]*?)[ \t]*(\r\n|\n)", re.MULTILINE)
_SYNONYMS: Mapping[str, str] = {
    "Position": "Offset",
    "Origin": "Offset",
    "Rotation": "TransformMatrix",
    "Orientation": "TransformMatrix",
    "BinaryDataByteOrderMSB": "ElementByteOrderMSB",
}


def _fields(text: str, path: Path) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in filter(str.strip, text.splitlines()):
        parts = re.split("[=:]", line, maxsplit=1)
        if len(parts) < 2:
            raise InputError(f"{path}: its header holds the line {line[:60]!r}, which is no field")
        key = _SYNONYMS.get(parts[0].strip(), parts[0].strip())
        if key in ("NDims", "DimSize", "ElementType") and key in fields:
            raise InputError(f"{path}: its header states {key} twice")
        fields[key] = parts[1].strip()
    return fields


def _flag(fields: Mapping[str, str], key: str, default: bool, path: Path) -> bool:
    text = fields.get(key, str(default)).lower()
    if text not in ("true", "false", "1", "0"):
        raise InputError(f"{path}: {key} must be True or False, got {text[:60]!r}")
    return text in ("true", "1")


def _sizes(fields: Mapping[str, str], path: Path) -> tuple[int, ...]:
    for key in ("NDims", "DimSize", "ElementType"):
        if key not in fields:
            raise InputError(f"{path}: its header states no {key}")
    axes = whole_numbers(fields["NDims"], "NDims", path)
    if axes not in ((2,), (3,)):
        raise InputError(f"{path}: must be a 2-D or 3-D image, got NDims {fields['NDims'][:60]}; save one 3-D image")
    sizes = whole_numbers(fields["DimSize"], "DimSize", path)
    if len(sizes) != axes[0]:
        raise InputError(f"{path}: DimSize must be {axes[0]} numbers, as NDims says, got {fields['DimSize'][:60]!r}")
    return sizes


def _frame(fields: Mapping[str, str], axes: int, path: Path) -> Frame:
    """Spacing, origin and direction as ITK reads them; the rows of the file's matrix are the axes' directions."""
    ones = " ".join(["1"] * axes)
    key = "ElementSpacing" if "ElementSpacing" in fields else "ElementSize"
    spacing = np.array(finite_numbers(fields.get(key, ones), axes, key, path))
    if (spacing == 0).any():
        raise InputError(f"{path}: {key} must not be 0, got {fields[key][:60]!r}")
    origin = finite_numbers(fields.get("Offset", " ".join(["0"] * axes)), axes, "Offset", path)
    identity = " ".join(map(str, np.eye(axes, dtype=int).ravel()))
    matrix = finite_numbers(fields.get("TransformMatrix", identity), axes * axes, "TransformMatrix", path)
    direction = np.reshape(matrix, (axes, axes)).T * np.sign(spacing)
    return {
        "spacing": tuple(map(float, abs(spacing))),
        "origin": origin,
        "direction": tuple(map(float, direction.ravel())),
    }


def _start(fields: Mapping[str, str], detached: bool, end: int, path: Path) -> int | None:
    """Where the voxels begin in their file; None for its last bytes."""
    (skipped,) = whole_numbers(fields.get("HeaderSize", "0"), "HeaderSize", path)[:1]
    if skipped == -1:
        return None
    if skipped < 0 or (not detached and skipped not in (0, end)):
        raise InputError(f"{path}: HeaderSize must be -1, 0 or the size of the header, got {skipped}")
    return skipped if detached else end


def read_metaimage_header(content: bytes, path: Path) -> VoxelHeader:
    """Checks the header of a MetaImage file.

    Args:
        content: the start of the file, with the whole header.
        path: the file.

    Raises:
        InputError: damaged, not a 2-D or 3-D image, too large, or voxels in a file that is not beside it.
    """
    found = _DATA_FILE.search(content + b"\n")
    if found is None:
        raise InputError(f"{path}: cannot be read as a MetaImage: its header names no ElementDataFile")
    fields = _fields(header_text(content[: found.start()], path), path)
    if fields.get("ObjectType", "Image").lower() != "image":
        raise InputError(f"{path}: holds a MetaImage {fields['ObjectType'][:60]!r}, not an image")
    sizes = _sizes(fields, path)
    (channels,) = whole_numbers(fields.get("ElementNumberOfChannels", "1"), "ElementNumberOfChannels", path)[:1]
    check_axes(sizes, channels, path)
    if fields["ElementType"] not in _TYPES:
        raise InputError(f"{path}: ElementType must be one of {', '.join(_TYPES)}, got {fields['ElementType'][:60]!r}")
    name = found[1].decode("utf-8", errors="replace")
    detached = name.upper() != "LOCAL"
    compressed = _flag(fields, "CompressedData", False, path)
    binary, big_endian = _flag(fields, "BinaryData", True, path), _flag(fields, "ElementByteOrderMSB", False, path)
    length = whole_numbers(fields.get("CompressedDataSize", "0"), "CompressedDataSize", path)[0]
    if compressed and (length < 0 or _start(fields, detached, found.end(), path) is None):
        raise InputError(f"{path}: CompressedDataSize and HeaderSize must not be negative")
    return VoxelHeader(
        sizes=sizes,
        channels=channels,
        channel_axis=0,
        dtype=np.dtype(_TYPES[fields["ElementType"]]).newbyteorder(">" if big_endian else "<"),
        encoding="zlib" if compressed else "raw" if binary else "text",
        data=data_beside(path, name) if detached else path,
        start=_start(fields, detached, found.end(), path),
        length=length if compressed and length else None,
        frame=_frame(fields, len(sizes), path),
    )
