"""The picture with contours that is saved, and that a notebook shows."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from torch import Tensor

from medclipsam_monai.io import Geometry, drawn_evenly
from medclipsam_monai.transforms import Overlay

SMALLEST = 256
"""Pixels of the longer side; smaller pictures are enlarged."""


def outlined(
    display: Tensor,
    geometry: Geometry,
    spacing: tuple[float, ...] | None,
    masks: Tensor | None = None,
    names: tuple[str, ...] | None = None,
) -> np.ndarray:
    """An upright image with masks and a legend, a volume as a montage of slices, see `Overlay`.

    Args:
        display: (3, H, W[, D]) in [0, 1].
        geometry: of the image.
        spacing: millimetres along H, W and D, None where unknown.
        masks: (K, H, W[, D]) bool; None draws none.
        names: of the classes; None for no legend.

    Returns:
        (h, w, 3) uint8.
    """
    draw = Overlay(names=names, min_size=SMALLEST)
    even = None if masks is None else drawn_evenly(masks, geometry)
    return draw(drawn_evenly(display, geometry), even, spacing=spacing)


def png(picture: np.ndarray) -> bytes:
    """A picture (h, w, 3) uint8 as the content of a PNG file."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, format="PNG")
    return content.getvalue()
