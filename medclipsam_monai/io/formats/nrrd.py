"""Headers of NRRD files (.nrrd, .nhdr), checked field by field: https://teem.sourceforge.net/nrrd/format.html."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.formats.voxels import (
    FARTHEST,
    Frame,
    VoxelHeader,
    check_axes,
    data_beside,
    finite_numbers,
    header_text,
    whole_numbers,
)

MAGIC = b"NRRD"
_NAMES = {
    "i1": "signed char, int8, int8_t",
    "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "float",
    "f8": "double",
}
_TYPES: Mapping[str, str] = {name: code for code, names in _NAMES.items() for name in names.split(", ")}
_ENCODINGS: Mapping[str, str] = {
    "raw": "raw",
    "txt": "text",
    "text": "text",
    "ascii": "text",
    "hex": "hex",
    "gz": "zlib",
    "gzip": "zlib",
    "bz2": "bzip2",
    "bzip2": "bzip2",
}
_FIELDS = frozenset(
    "axismaxs axismins blocksize byteskip centerings content datafile dimension encoding endian kinds labels lineskip "
    "max measurementframe min number oldmax oldmin sampleunits sizes space spacedimension spacedirections spaceorigin "
    "spaceunits spacings thicknesses type units".split()
)
_DOMAIN_KINDS = ("domain", "space", "time", "none", "???", "unknown")
_COLOUR_KINDS = ("vector", "3-vector", "4-vector", "rgb-color", "rgba-color", "3-color", "4-color", *_DOMAIN_KINDS[3:])
_SIGNS: Mapping[str, tuple[int, int, int]] = {  # to LPS, where it can be told
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
_SPACES_OF_THREE = (*_SIGNS, "left-posterior-superior", "lps", "scanner-xyz", "3d-right-handed", "3d-left-handed")


@dataclass(frozen=True)
class _Fields:
    path: Path
    values: Mapping[str, str]

    def needed(self, name: str) -> str:
        if name not in self.values:
            raise InputError(f"{self.path}: its header states no {name}")
        return self.values[name]

    def words(self, name: str, count: int) -> list[str] | None:
        """One word an axis, None where the field is missing."""
        if name not in self.values:
            return None
        words = self.values[name].split()
        if len(words) != count:
            raise InputError(f"{self.path}: {name} must be {count} words, one an axis, got {self.values[name][:60]!r}")
        return words

    def whole(self, name: str, default: int) -> int:
        numbers = whole_numbers(self.values.get(name, str(default)), name, self.path)
        if len(numbers) != 1:
            raise InputError(f"{self.path}: {name} must be one number, got {self.values[name][:60]!r}")
        return numbers[0]


def _parse(text: str, path: Path) -> _Fields:
    values: dict[str, str] = {}
    for line in text.splitlines()[1:]:
        mark = re.search(":=|: |:$", line)
        if line.startswith("#") or (mark and mark[0] == ":="):
            continue
        if mark is None:
            raise InputError(f"{path}: its header holds the line {line[:60]!r}, which is no field")
        name = line[: mark.start()].replace(" ", "").lower()
        name = {"centers": "centerings"}.get(name, name)
        if name not in _FIELDS:
            raise InputError(f"{path}: its header holds the field {line[: mark.start()][:60]!r}, which NRRD lacks")
        if name in values:
            raise InputError(f"{path}: its header states {line[: mark.start()]} twice")
        values[name] = line[mark.end() :].strip()
        if name == "datafile" and values[name].startswith("LIST"):
            break
    return _Fields(path, values)


def _vector(text: str, size: int, field: str, path: Path) -> np.ndarray:
    if not (text.startswith("(") and text.endswith(")")):
        raise InputError(f"{path}: {field} must be vectors such as (0,0,1), got {text[:60]!r}")
    return np.array(finite_numbers(text[1:-1].replace(",", " "), size, field, path))


def _vectors(fields: _Fields, axes: int) -> list[str] | None:
    """The texts of the axes' directions, each a vector or "none"."""
    if "spacedirections" not in fields.values:
        return None
    texts = re.findall(r"none|\([^()]*\)", fields.values["spacedirections"])
    if len(texts) != axes:
        raise InputError(f"{fields.path}: space directions must be {axes} vectors, one an axis")
    return texts


def _domain(fields: _Fields, axes: int, sizes: tuple[int, ...]) -> list[int]:
    """The axes that lie in space; at most one does not, that of grey or of red, green and blue."""
    kinds = fields.words("kinds", axes) or ["domain"] * axes
    directions = _vectors(fields, axes) or [""] * axes
    domain = [
        axis for axis in range(axes) if kinds[axis].lower() in _DOMAIN_KINDS and directions[axis].lower() != "none"
    ]
    if len(domain) < axes - 1:
        raise InputError(f"{fields.path}: has {axes - len(domain)} axes outside of space; save one 3-D image of it")
    for axis in set(range(axes)) - set(domain):
        if sizes[axis] > 1 and kinds[axis].lower() not in _COLOUR_KINDS:
            raise InputError(
                f"{fields.path}: holds {sizes[axis]} numbers a voxel of the kind {kinds[axis][:60]!r}, which are no "
                "colour; save one 3-D image of it"
            )
    return domain


def _space_size(fields: _Fields) -> int | None:
    if "space" in fields.values:
        name = fields.values["space"].lower()
        if name not in _SPACES_OF_THREE:
            raise InputError(f"{fields.path}: space must be one of {', '.join(_SPACES_OF_THREE)}, got {name[:60]!r}")
        return 3
    return fields.whole("spacedimension", 0) if "spacedimension" in fields.values else None


def _axis_numbers(fields: _Fields, name: str, axes: int, domain: list[int]) -> np.ndarray:
    """A number for each axis in space, NaN where none is stated."""
    words = fields.words(name, axes) or ["nan"] * axes
    try:
        return np.array([float(words[axis]) for axis in domain])
    except ValueError as error:
        raise InputError(f"{fields.path}: {name} must be numbers, got {fields.values[name][:60]!r}") from error


def _frame_of_axes(fields: _Fields, axes: int, domain: list[int], sizes: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Axis vectors and origin of a file without space directions, by its spacings and axis mins, as ITK takes them."""
    low, high = (_axis_numbers(fields, name, axes, domain) for name in ("axismins", "axismaxs"))
    centers = fields.words("centerings", axes) or ["cell"] * axes
    node = np.array([centers[axis].lower() == "node" for axis in domain])
    spacing = _axis_numbers(fields, "spacings", axes, domain)
    if not np.isfinite(spacing).any():
        spacing = (high - low) / np.maximum(np.array(sizes) - node, 1)
    unknown = ~np.isfinite(spacing) | (spacing == 0)
    origin = low + np.where(node, 0, spacing / 2)
    if unknown.any() or not np.isfinite(origin).all():
        origin = np.zeros(len(domain))
    return np.diag(np.where(unknown, 1.0, spacing)), origin


def _frame(fields: _Fields, axes: int, domain: list[int], sizes: tuple[int, ...]) -> Frame:
    """Spacing, origin and direction in LPS, as ITK reads them."""
    space, texts = _space_size(fields), _vectors(fields, axes)
    if space not in (None, len(domain)):
        raise InputError(f"{fields.path}: has {len(domain)} axes in a space of {space} dimensions; they must agree")
    signs = np.array(_SIGNS.get(fields.values.get("space", "").lower(), (1, 1, 1))[: len(domain)])
    if texts is None:
        vectors, origin = _frame_of_axes(fields, axes, domain, sizes)
    else:
        columns = [_vector(texts[axis], len(domain), "space directions", fields.path) for axis in domain]
        vectors, origin = signs[:, None] * np.stack(columns, axis=1), np.zeros(len(domain))
    if "spaceorigin" in fields.values:
        origin = signs * _vector(fields.values["spaceorigin"], len(domain), "space origin", fields.path)
    spacing = np.linalg.norm(vectors, axis=0)
    if not (np.isfinite(spacing).all() and spacing.min() > 0):
        raise InputError(f"{fields.path}: space directions must not be zero or infinite")
    return {
        "spacing": tuple(map(float, spacing)),
        "origin": tuple(map(float, origin)),
        "direction": tuple(map(float, (vectors / spacing).ravel())),
    }


def _number_type(fields: _Fields) -> np.dtype:
    name = " ".join(fields.needed("type").lower().split())
    if name not in _TYPES:
        raise InputError(f"{fields.path}: type must be one of {', '.join(_TYPES)}, got {name[:60]!r}")
    dtype, endian = np.dtype(_TYPES[name]), fields.values.get("endian", "").lower()
    if endian not in ("little", "big", ""):
        raise InputError(f"{fields.path}: endian must be little or big, got {endian[:60]!r}")
    if not endian and dtype.itemsize > 1 and _encoding(fields) != "text":
        raise InputError(f"{fields.path}: its header states no endian")
    return dtype.newbyteorder(">" if endian == "big" else "<")


def _encoding(fields: _Fields) -> str:
    name = fields.needed("encoding").lower()
    if name not in _ENCODINGS:
        raise InputError(f"{fields.path}: encoding must be one of {', '.join(_ENCODINGS)}, got {name[:60]!r}")
    return _ENCODINGS[name]


def read_nrrd_header(content: bytes, path: Path) -> VoxelHeader:
    """Checks the header of an NRRD file.

    Args:
        content: the start of the file, with the whole header.
        path: the file.

    Raises:
        InputError: damaged, not a 2-D or 3-D image, too large, or voxels in a file that is not beside it.
    """
    blank = re.search(rb"\r?\n\r?\n", content)
    fields = _parse(header_text(content[: blank.start()] if blank else content, path), path)
    name = fields.values.get("datafile")
    if blank is None and name is None:  # only a header whose voxels lie elsewhere may end without an empty line
        raise InputError(f"{path}: cannot be read as an NRRD image: its header has no end")
    axes = fields.whole("dimension", 0)
    every = whole_numbers(fields.needed("sizes"), "sizes", path)
    if not 1 <= axes <= 16 or len(every) != axes:
        raise InputError(f"{path}: sizes must be as many numbers as dimension says ({axes}), got {len(every)}")
    domain = _domain(fields, axes, every)
    sizes = tuple(every[axis] for axis in domain)
    (channel_axis,) = set(range(axes)) - set(domain) or {0}
    channels = every[channel_axis] if len(domain) < axes else 1
    check_axes(sizes, channels, path)
    lines, skipped, encoding = fields.whole("lineskip", 0), fields.whole("byteskip", 0), _encoding(fields)
    last = skipped == -1 and encoding == "raw"
    if lines < 0 or (skipped < 0 and not last):
        raise InputError(f"{path}: line skip and byte skip must not be negative, got {lines} and {skipped}")
    if skipped > FARTHEST and encoding in ("zlib", "bzip2"):
        raise InputError(f"{path}: byte skip must be at most {FARTHEST}, got {skipped}; the header may be damaged")
    return VoxelHeader(
        sizes=sizes,
        channels=channels,
        channel_axis=channel_axis,
        dtype=_number_type(fields),
        encoding=encoding,
        data=path if name is None else data_beside(path, name),
        start=None if last else blank.end() if blank and name is None else 0,
        skip_lines=0 if last else lines,
        skip_bytes=0 if last else skipped,
        frame=_frame(fields, axes, domain, sizes),
    )
