"""Overlay pictures as DICOM Secondary Captures, by highdicom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset

from medclipsam_monai.deploy.seg_writer import Algorithm


def secondary_captures(
    pictures: np.ndarray,
    sources: Sequence[Dataset],
    algorithm: Algorithm,
    *,
    description: str = "Segmentation by text, overlay",
    series_number: int = 9001,
    frames: Sequence[int] | None = None,
) -> list[Dataset]:
    """Colour pictures as one series of single-frame Secondary Captures.

    Args:
        pictures: (N, rows, columns, 3) uint8 RGB on the grid of the frames as they are stored (not turned upright), so
            that a viewer shows each as it shows its source.
        sources: the images the pictures were made from: single-frame images of one series, or one multi-frame image.
        algorithm: what made the overlay.
        description: of the new series, at most 64 characters.
        series_number: of the new series.
        frames: which frame of ``sources`` each picture shows, counted from 0 in their order; all by default.

    Returns:
        N objects, to be saved with ``save_as(path, enforce_file_format=True)``. They refer to their source frames.

    Raises:
        ValueError: shapes or numbers that do not fit each other.
        InputError: sources without what a Secondary Capture needs.
    """
    raise NotImplementedError
