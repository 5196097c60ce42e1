"""Submitted label files, read back onto their images."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel as nib
import numpy as np

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import Geometry, read_image
from medclipsam_monai.io.label_maps import read_label_map

_NUMBERS = [str(number) for number in range(1, 256)]


def read_submitted(label: str | Path, image: str | Path) -> tuple[np.ndarray, Geometry]:
    """A label that a client sent, laid on its image; 3D Slicer sends NIfTI also for pictures.

    Args:
        label: the file as it came.
        image: the image it is for.

    Returns:
        (H, W[, D]) uint8, upright, with a mask of 0 and 255 as 0 and 1, and the image's geometry.

    Raises:
        InputError: a file that is no label, or of another size than the image.
    """
    geometry = read_image(image).meta["geometry"]
    return read_laid(label, geometry), geometry


def read_laid(label: str | Path, geometry: Geometry) -> np.ndarray:
    """A label on an image that is read already.

    Args:
        label: see `read_submitted`.
        geometry: of the image.

    Returns:
        See `read_submitted`.

    Raises:
        InputError: a file that is no label, or of another size than the image.
    """
    labels = read_label_map(Path(label), geometry, _NUMBERS)
    return (labels > 0).astype(np.uint8) if set(np.unique(labels)) <= {0, 255} else labels


def raw_label(file: Path, image: str | Path, target: Path) -> Path:
    """A label that OHIF sends as its voxels alone, columns first, as NIfTI on its image.

    Args:
        file: 1 or 2 bytes a voxel, little end first.
        image: the image's NIfTI.
        target: where to write.

    Raises:
        InputError: it has not as many voxels as the image.
    """
    volume = nib.Nifti1Image.from_filename(image)
    shape = tuple(int(size) for size in volume.shape[:3])
    content, voxels = file.read_bytes(), math.prod(shape)
    if len(content) not in (voxels, 2 * voxels):
        raise InputError(
            f"{file}: holds {len(content):,} bytes for an image of {voxels:,} voxels; expected 1 or 2 bytes a voxel"
        )
    values = np.frombuffer(content, np.uint8 if len(content) == voxels else np.dtype("<u2"))
    array = values.reshape(shape, order="F").astype(np.uint16)
    nib.save(nib.Nifti1Image(array, volume.affine, volume.header), target)
    return target
