"""NIfTI as a format. Reading: the header with nibabel, the voxels only as far as the header promises them.

Whether a file is compressed is told by its content, not by its name. Extensions of the header are passed over.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import open_file_sha256
from medclipsam_monai.io.formats.nifti_writer import with_normal, write_nifti
from medclipsam_monai.io.formats.stored import StoredGrid, StoredImage
from medclipsam_monai.io.formats.table import NIFTI
from medclipsam_monai.io.formats.voxels import FARTHEST, MOST_DEFLATED, cut_short, warn_of_more
from medclipsam_monai.io.guard import reading
from medclipsam_monai.io.limits import check_size

_MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}
_GZIP = b"\x1f\x8b"
_HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}

write_mask = write_map = write_nifti


@contextmanager
def _decompressed(file: BinaryIO) -> Iterator[BinaryIO]:
    """The content of an open file."""
    compressed = file.read(2) == _GZIP
    file.seek(0)
    if compressed:
        with gzip.GzipFile(fileobj=file) as content:
            yield content  # type: ignore[misc]  # a GzipFile reads as a file does
    else:
        yield file


def _check_pixdim(raw: Any, path: Path) -> None:
    """nibabel replaces a pixdim of 0 by 1 without a word; that is right only where the sform says where voxels lie."""
    sides = np.array([float(side) for side in raw["pixdim"][1 : 1 + min(3, int(raw["dim"][0]))]])
    if int(raw["sform_code"]) <= 0 and not (np.isfinite(sides).all() and (sides > 0).all()):
        stated = " ".join(f"{side:g}" for side in sides)
        raise InputError(f"{path}: its pixdim must be positive where there is no sform, got {stated}")


def _read_header(content: BinaryIO, path: Path) -> Any:
    """nibabel's header of the first bytes.

    Raises:
        InputError: not a NIfTI image in one file.
    """
    start = content.read(4)
    little = int.from_bytes(start, "little") in _HEADERS
    kind = _HEADERS.get(int.from_bytes(start, "little" if little else "big"))
    if kind is None:
        raise InputError(f"{path}: cannot be read as a NIfTI image: its first bytes are another file's")
    block, endianness = start + content.read(kind.sizeof_hdr - 4), "<" if little else ">"
    raw = kind(block, endianness, check=False)
    if raw["magic"].item() != kind.single_magic.rstrip(b"\0"):
        raise InputError(f"{path}: is no NIfTI image in one file; save Analyze images and pairs (.hdr, .img) as .nii")
    if not 1 <= int(raw["dim"][0]) <= 7:
        raise InputError(f"{path}: its header states {int(raw['dim'][0])} dimensions; it may be damaged")
    _check_pixdim(raw, path)
    return kind(block, endianness, check=True)


def _check_dimensions(path: Path, shape: tuple[int, ...]) -> None:
    extra = [size for size in shape[3:] if size != 1]
    if len(shape) < 2 or min(shape) < 1:
        raise InputError(f"{path}: must be a 2-D or 3-D image, got shape {shape}")
    if extra:
        raise InputError(
            f"{path}: is a {len(shape)}-D image of shape {shape}; save one 3-D image of it (one time point or channel)"
        )


def _start(header: Any, path: Path) -> int:
    """Where the voxels start."""
    stated = float(header["vox_offset"])
    first = header.single_vox_offset
    if stated == 0:
        return int(first)
    if not (math.isfinite(stated) and stated == int(stated) and first <= stated <= FARTHEST):
        raise InputError(f"{path}: vox_offset must be a whole number from {first} to {FARTHEST}, got {stated:g}")
    return int(stated)


def _read_numbers(content: BinaryIO, header: Any, path: Path) -> tuple[np.ndarray, bool]:
    """The stored numbers in the header's shape, and whether the file holds more than those.

    Raises:
        InputError: the file is too short for them, or too large to be opened.
    """
    shape, dtype, start = header.get_data_shape(), header.get_data_dtype(), _start(header, path)
    wanted, size = math.prod(shape) * dtype.itemsize, path.stat().st_size
    held = size * MOST_DEFLATED if isinstance(content, gzip.GzipFile) else size
    if held < start + wanted:
        raise cut_short(path, start + wanted, size)
    content.seek(start)
    numbers = np.empty(math.prod(shape), dtype)
    view, done = numbers.view(np.uint8).data, 0
    while done < wanted:
        count = content.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise cut_short(path, start + wanted, start + done)
        done += count
    return numbers.reshape(shape, order="F"), bool(content.read(1))  # gzip compares its checksum at the end


def _scaled(numbers: np.ndarray, header: Any, path: Path) -> np.ndarray:
    """The image's numbers as float32, a slab at a time.

    Raises:
        InputError: numbers that float32 cannot hold.
    """
    slope, inter = header.get_slope_inter()
    if not math.isfinite(float(header["scl_slope"])) and not math.isnan(float(header["scl_slope"])):
        raise InputError(f"{path}: its scl_slope is infinite; correct the header")
    if slope in (None, 1) and inter in (None, 0) and numbers.dtype.kind in "iu":
        return numbers.astype(np.float32)
    result = np.empty(numbers.shape, np.float32)
    for index in range(numbers.shape[-1]):
        exact = numbers[..., index].astype(np.float64)
        if slope is not None:
            exact = exact * slope + inter
        result[..., index] = exact
        if (np.isinf(result[..., index]) & np.isfinite(numbers[..., index])).any():
            raise InputError(f"{path}: holds numbers beyond {np.finfo(np.float32).max:.1e}; scale them")
    return result


def _channels_last(numbers: np.ndarray, header: Any, path: Path) -> np.ndarray:
    """The array with channels last: one, or three for NIfTI's RGB types."""
    if numbers.dtype.names:
        return np.stack([numbers[name] for name in numbers.dtype.names[:3]], axis=-1)
    return _scaled(numbers, header, path)[..., None]


def _affine(header: Any, flat: bool, path: Path) -> np.ndarray:
    """RAS affine in millimetres; a 2-D image's slice direction is completed by its normal."""
    affine = np.array(header.get_best_affine(), dtype=float)
    if not np.isfinite(affine).all():
        form = "sform" if int(header["sform_code"]) > 0 else "qform"
        raise InputError(f"{path}: its {form} holds NaN or infinity; correct the header's geometry")
    affine[:3] *= _MILLIMETRES.get(header.get_xyzt_units()[0], 1.0)
    return with_normal(affine) if flat else affine


def _checked_header(content: BinaryIO, path: Path) -> tuple[Any, StoredGrid]:
    """The header, and where the voxels lie."""
    header = _read_header(content, path)
    shape = header.get_data_shape()
    _check_dimensions(path, shape)
    affine = _affine(header, flat=len(shape) == 2 or shape[2] == 1, path=path)
    if header.get_data_dtype().kind == "c":
        raise InputError(f"{path}: holds complex numbers; save their magnitude")
    check_size(shape if header.get_data_dtype().names is None else (*shape, 3), path)
    return header, StoredGrid(NIFTI, shape, affine, header)


def read(paths: Sequence[Path], name: str) -> StoredImage:
    """Reads a 2-D or 3-D NIfTI image, compressed or not; trailing axes of length 1 are allowed.

    Raises:
        InputError: damaged or cut short, a real fourth dimension, complex numbers, a geometry that is none.
    """
    (path,) = paths
    with reading(path, "a NIfTI image"), path.open("rb") as file:
        sha256 = open_file_sha256(file)
        with _decompressed(file) as content:
            header, grid = _checked_header(content, path)
            numbers, more = _read_numbers(content, header, path)
        array = _channels_last(numbers, header, path)
    if more:
        warn_of_more(path)
    plain = numbers.dtype == np.uint8 and header.get_slope_inter() in ((None, None), (1, 0))
    colour = array.shape[-1] == 3
    meta = {"uint8": bool(plain or colour), "photometric": "RGB" if colour else "MONOCHROME2"}
    return grid.filled(array, meta, sha256)


def read_grid(paths: Sequence[Path], name: str) -> StoredGrid:
    """Reads the header alone; raises what `read` raises for it."""
    (path,) = paths
    with reading(path, "a NIfTI image"), path.open("rb") as file, _decompressed(file) as content:
        return _checked_header(content, path)[1]
