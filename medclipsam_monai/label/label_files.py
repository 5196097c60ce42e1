"""Submitted label files, read back onto their images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
    labels = read_label_map(Path(label), geometry, _NUMBERS)
    if set(np.unique(labels)) <= {0, 255}:
        labels = (labels > 0).astype(np.uint8)
    return labels, geometry
