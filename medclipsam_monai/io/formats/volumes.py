"""Reads NRRD and MetaImage volumes, and says which files their voxels are in."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.formats.metaimage import read_metaimage_header
from medclipsam_monai.io.formats.nrrd import MAGIC, read_nrrd_header
from medclipsam_monai.io.formats.voxels import Frame, VoxelHeader, read_voxels, warn_of_more
from medclipsam_monai.io.geometry import StoredImage
from medclipsam_monai.io.guard import reading

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def itk_affine(frame: Frame) -> np.ndarray:
    """RAS affine of ITK's spacing, origin and direction; a 2-D image lies in the axial plane."""
    size = len(frame["spacing"])
    affine = np.eye(4)
    affine[:size, :size] = np.reshape(frame["direction"], (size, size)) * np.array(frame["spacing"])
    affine[:size, 3] = frame["origin"]
    return LPS_TO_RAS @ affine


def _read_header(path: Path) -> VoxelHeader:
    with path.open("rb") as file:
        is_nrrd = file.read(len(MAGIC)) == MAGIC
    return read_nrrd_header(path) if is_nrrd else read_metaimage_header(path)


def detached_data(path: Path) -> Path | None:
    """The file beside an NRRD or MetaImage header that holds its voxels; None where they follow the header.

    A server that takes files from strangers refuses what has one.

    Raises:
        InputError: a damaged header, or voxels in a file that is not beside it.
    """
    with reading(path, "an NRRD or MetaImage header"):
        header = _read_header(path)
    return header.data if header.data != path else None


def read_itk(path: Path) -> StoredImage:
    """Reads a 2-D or 3-D NRRD, MHA or MHD image: grey, or 8-bit RGB.

    Raises:
        InputError: damaged or cut short, four dimensions, vectors other than colours, too large, or voxels in a file
            that is not beside its header.
    """
    with reading(path, "an NRRD or MetaImage volume"):
        header = _read_header(path)
        if header.channels > 1 and not (header.channels in (3, 4) and header.dtype == np.uint8):
            raise InputError(
                f"{path}: holds {header.channels} {header.dtype.name} numbers a voxel; only grey or 8-bit RGB is read"
            )
        array, more = read_voxels(header, path)
    if more:
        warn_of_more(path)
    array = array[..., :3]
    return StoredImage(
        array=array,
        kind="itk",
        affine=itk_affine(header.frame),
        header=header.frame,
        meta={"uint8": array.dtype == np.uint8, "photometric": "RGB" if header.channels > 1 else "MONOCHROME2"},
    )
