"""Label maps that clients submit, read back onto their images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medclipsam_monai.errors import InputError
from medclipsam_monai.io import Geometry, detached_data, read_image
from medclipsam_monai.weak.label_files import read_label_map

_WITH_DATA_FILES = (".nrrd", ".nhdr", ".mha", ".mhd")
_NUMBERS = [str(number) for number in range(1, 256)]


def refuse_detached(path: str | Path) -> None:
    """Refuse a client's NRRD or MetaImage whose voxels are in another file: a server follows no name in an upload.

    Raises:
        InputError: it has a data file of its own, or its header is damaged.
    """
    if Path(path).suffix.lower() in _WITH_DATA_FILES and detached_data(Path(path)) is not None:
        raise InputError(f"{path}: its voxels are in another file; save it as one file, such as .nrrd or .mha")


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
    refuse_detached(label)
    geometry = read_image(image).meta["geometry"]
    labels = read_label_map(Path(label), geometry, _NUMBERS)
    if set(np.unique(labels)) <= {0, 255}:
        labels = (labels > 0).astype(np.uint8)
    return labels, geometry
