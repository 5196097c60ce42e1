"""DICOM Segmentation objects, by highdicom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset


@dataclass(frozen=True)
class Algorithm:
    """What made the masks.

    Attributes:
        name: of the algorithm, at most 64 characters.
        version: of the package.
        preset: name of the preset.
        weights: SHA-256 by weight file.
    """

    name: str
    version: str
    preset: str
    weights: Mapping[str, str]


def segmentation_object(
    masks: np.ndarray,
    classes: Sequence[str],
    sources: Sequence[Dataset],
    algorithm: Algorithm,
    *,
    description: str = "Segmentation by text",
    series_number: int = 9000,
) -> Dataset | None:
    """A binary DICOM SEG with one segment for each class that was found.

    Args:
        masks: (K, F, rows, columns) bool; F frames in the order of ``sources`` (of their frames, for a multi-frame
            object). Classes may overlap.
        classes: K names; see `segment_codes`.
        sources: the images the masks were made from, headers with or without pixels: single-frame images of one
            series, or one multi-frame image.
        algorithm: what made the masks.
        description: of the new series, at most 64 characters.
        series_number: of the new series.

    Returns:
        The object, to be saved with ``save_as(path, enforce_file_format=True)``; None if no class has a voxel. A
        segment's number is its class's place in ``classes`` among those found, counted from 1.

    Raises:
        ValueError: shapes that do not fit each other.
        InputError: sources a SEG cannot refer to; the message says what is missing.
    """
    raise NotImplementedError
