"""ITK's NRRD and MetaImage as a format, which also says in which files the voxels are.

They are written by ITK and read by our own checked readers, since ITK ends the process on some damaged files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import open_file_sha256
from medclipsam_monai.io.formats.metaimage import read_metaimage_header
from medclipsam_monai.io.formats.nrrd import MAGIC, read_nrrd_header
from medclipsam_monai.io.formats.stored import StoredGrid, StoredImage
from medclipsam_monai.io.formats.table import ITK
from medclipsam_monai.io.formats.voxels import MAX_HEADER, Frame, VoxelHeader, read_voxels, warn_of_more
from medclipsam_monai.io.guard import reading
from medclipsam_monai.io.records import joined_hash

if TYPE_CHECKING:
    from medclipsam_monai.io.geometry import Geometry

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def itk_affine(frame: Frame) -> np.ndarray:
    """RAS affine of ITK's spacing, origin and direction; a 2-D image lies in the axial plane."""
    size = len(frame["spacing"])
    affine = np.eye(4)
    affine[:size, :size] = np.reshape(frame["direction"], (size, size)) * np.array(frame["spacing"])
    affine[:size, 3] = frame["origin"]
    return LPS_TO_RAS @ affine


def _read_header(file: BinaryIO, path: Path) -> VoxelHeader:
    content = file.read(MAX_HEADER)
    return (read_nrrd_header if content.startswith(MAGIC) else read_metaimage_header)(content, path)


def _grid(header: VoxelHeader, path: Path) -> StoredGrid:
    if header.channels > 1 and not (header.channels in (3, 4) and header.dtype == np.uint8):
        raise InputError(
            f"{path}: holds {header.channels} {header.dtype.name} numbers a voxel; only grey or 8-bit RGB is read"
        )
    return StoredGrid(ITK, header.sizes, itk_affine(header.frame), header.frame)


def detached_data(path: Path) -> Path | None:
    """The file beside an NRRD or MetaImage header that holds its voxels; None where they follow the header.

    A server that takes files from strangers refuses what has one.

    Raises:
        InputError: a damaged header, or voxels in a file that is not beside it.
    """
    with reading(path, "an NRRD or MetaImage header"), path.open("rb") as file:
        header = _read_header(file, path)
    return header.data if header.data != path else None


def read(paths: Sequence[Path], name: str) -> StoredImage:
    """Reads a 2-D or 3-D NRRD, MHA or MHD image: grey, or 8-bit RGB.

    Raises:
        InputError: damaged or cut short, four dimensions, vectors other than colours, too large, or voxels in a file
            that is not beside its header.
    """
    (path,) = paths
    with reading(path, "an NRRD or MetaImage volume"), path.open("rb") as file:
        hashes = [open_file_sha256(file)]
        header = _read_header(file, path)
        grid = _grid(header, path)
        if header.data == path:
            array, more = read_voxels(header, file, path)
        else:
            with header.data.open("rb") as data:
                hashes.append(open_file_sha256(data))
                array, more = read_voxels(header, data, path)
    if more:
        warn_of_more(path)
    array = array[..., :3]
    meta = {"uint8": array.dtype == np.uint8, "photometric": "RGB" if header.channels > 1 else "MONOCHROME2"}
    return grid.filled(array, meta, joined_hash(hashes))


def read_grid(paths: Sequence[Path], name: str) -> StoredGrid:
    """Reads the header alone; raises what `read` raises for it."""
    (path,) = paths
    with reading(path, "an NRRD or MetaImage volume"), path.open("rb") as file:
        return _grid(_read_header(file, path), path)


def write_mask(labels: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Writes NRRD on the file's frame, see `write_nrrd`."""
    from medclipsam_monai.io.formats.nrrd_writer import write_nrrd  # needs scipy, which finding inputs does not

    write_nrrd(labels, geometry, path)


write_map = write_mask
