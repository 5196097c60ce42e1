"""Label maps as files: written as every viewer reads them, and submitted ones read back onto their images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from medclipsam_monai.files import write_atomically
from medclipsam_monai.io import Geometry, read_image, restore_geometry, write_mask
from medclipsam_monai.weak.label_files import read_label_map

_NUMBERS = [str(number) for number in range(1, 256)]


def write_label(labels: Tensor | np.ndarray, geometry: Geometry, path_without_suffix: str | Path) -> Path:
    """Write an upright label map in its image's own geometry, as every viewer reads it.

    As `write_mask`, but a picture is grey, not a palette: ITK, and so 3D Slicer, reads a palette as its colours.

    Args:
        labels: (H, W[, D]), 0 background, 1..255 the classes.
        geometry: the image's ``meta["geometry"]``.
        path_without_suffix: where to write; the suffix is added.

    Raises:
        InputError: the file cannot be written.
    """
    if geometry.kind != "picture":
        return write_mask(labels, geometry, path_without_suffix)
    picture = Image.fromarray(restore_geometry(labels, geometry).astype(np.uint8))
    return write_atomically(Path(f"{path_without_suffix}.png"), lambda part: picture.save(part, format="PNG"))


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
