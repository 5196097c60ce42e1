"""Writes masks, maps, pictures and records: each file appears whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import torch
from PIL import Image

from medclipsam_monai.base.colours import CLASS_COLOURS, Colour
from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.io.formats.nrrd_writer import write_segmentation
from medclipsam_monai.io.formats.table import FORMATS
from medclipsam_monai.io.geometry import Geometry, restore_geometry

MASK_FORMATS = ("nrrd",)
"""Other formats for masks than their image's own: "nrrd" is 3D Slicer's .seg.nrrd."""


_LEVEL = 2
"""Of zlib, for pictures in colour whose lines are packed as differences to the line above: a third of the time that
Pillow takes at level 3, which tries five ways for each line, for 15 % more bytes."""


def _with_suffix(path: str | Path, suffix: str) -> Path:
    return Path(f"{path}{suffix}")


def _labels(label_map: np.ndarray | torch.Tensor, geometry: Geometry) -> np.ndarray:
    labels = restore_geometry(label_map, geometry)
    if labels.shape != geometry.shape:
        raise ValueError(f"label_map must be one map like its image, got {len(labels)} channels")
    if labels.min() < 0 or labels.max() > 65535:
        raise ValueError(f"labels must lie in 0..65535, got {labels.min()}..{labels.max()}")
    return labels.astype(np.uint8 if labels.max() <= 255 else np.uint16)


def write_mask(
    label_map: np.ndarray | torch.Tensor,
    geometry: Geometry,
    path_without_suffix: str | Path,
    *,
    names: Sequence[str] | None = None,
    colours: Sequence[Colour] = CLASS_COLOURS,
    format: str | None = None,
) -> Path:
    """Writes an upright label map on the grid of the image it was made from.

    Pictures get a grey PNG, whose pixel values are the labels: 8 bits, or 16 where there are more than 255. NIfTI gets
    NIfTI with the input's header, NRRD, MHA and MHD get NRRD, DICOM with positions gets NIfTI, DICOM without gets PNG.
    Slices that are not evenly apart are laid on an even grid in NIfTI and .seg.nrrd, see `even_grid`.

    Args:
        label_map: (H, W[, D]) or (1, H, W[, D]), 0 background, 1..K the classes.
        geometry: the image's ``meta["geometry"]``.
        path_without_suffix: where to write; the suffix is added.
        names: the K classes in the order of their labels, for ``format="nrrd"``; "class 1", ... if not given.
        colours: of classes 1, 2, ..., for ``format="nrrd"``.
        format: "nrrd" for 3D Slicer's segmentation with names and colours, whatever the image is: ``.seg.nrrd``.

    Returns:
        The path written.

    Raises:
        ValueError: labels outside 0..65535 or beyond ``names``, a shape that is not the image's, an unknown format.
        InputError: the file cannot be written, or see `even_grid`.
    """
    if format is not None and format not in MASK_FORMATS:
        raise ValueError(f"format must be one of {', '.join(MASK_FORMATS)}, got {format!r}")
    labels = _labels(label_map, geometry)
    if names is not None and labels.max() > len(names):
        raise ValueError(f"labels must lie in 0..{len(names)}, one a name, got {labels.max()}")
    if format == "nrrd":
        known = names if names is not None else [f"class {label}" for label in range(1, int(labels.max()) + 1)]
        path = _with_suffix(path_without_suffix, ".seg.nrrd")
        return write_atomically(path, lambda part: write_segmentation(labels, geometry, part, known, colours))
    path, code = _with_suffix(path_without_suffix, geometry.suffix), FORMATS[geometry.kind].code
    return write_atomically(path, lambda part: code.write_mask(labels, geometry, part))


def write_float_map(values: np.ndarray | torch.Tensor, geometry: Geometry, path_without_suffix: str | Path) -> Path:
    """Writes an upright saliency or probability map on the grid of its image, as `write_mask` does a mask.

    Args:
        values: (H, W[, D]) or (1, H, W[, D]), in [0, 1].
        geometry: the image's ``meta["geometry"]``.
        path_without_suffix: where to write; the suffix is added.

    Returns:
        The path written: float32 NIfTI or NRRD, or for pictures a 16-bit grey PNG of 65535 times the value.

    Raises:
        ValueError: values outside [0, 1], or a shape that is not the image's.
        InputError: the file cannot be written.
    """
    array = restore_geometry(values, geometry).astype(np.float32)
    if array.shape != geometry.shape:
        raise ValueError(f"values must be one map like its image, got {len(array)} channels")
    if not (array.min() >= 0 and array.max() <= 1):
        raise ValueError(f"values must lie in [0, 1], got {array.min()}..{array.max()}")
    path, code = _with_suffix(path_without_suffix, geometry.suffix), FORMATS[geometry.kind].code
    return write_atomically(path, lambda part: code.write_map(array, geometry, part))


def write_picture(picture: np.ndarray, path: str | Path) -> Path:
    """Writes an (H, W, 3) uint8 picture, such as an overlay, as PNG or by its suffix.

    Raises:
        ValueError: another shape or type.
        InputError: the file cannot be written.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3:
        raise ValueError(f"picture must be (H, W, 3) uint8, got {picture.shape} {picture.dtype}")
    return write_atomically(Path(path), lambda part: save_picture(picture, part))


def save_picture(picture: np.ndarray, path: Path) -> None:
    """What `write_picture` does to its part file."""
    if path.suffix.lower() == ".png":
        lines = np.ascontiguousarray(picture)
        path.write_bytes(imagecodecs.png_encode(lines, level=_LEVEL, filter=imagecodecs.PNG.FILTER.UP))
    else:
        Image.fromarray(picture).save(path)
