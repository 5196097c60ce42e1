"""Points and boxes that were drawn on a layer, as clicks in the slices of the image that was opened."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import Geometry
from medclipsam_monai.napari.layers import LayerImage
from medclipsam_monai.zero_shot.clicks.prompts import SliceClicks, upright_box, upright_place


@dataclass(frozen=True, eq=False)
class Correction:
    """What was drawn, as indices of the image layer's n axes.

    Attributes:
        inside: (p, n) points that belong to the class.
        outside: (q, n) points that do not.
        boxes: the corners (m, n) of each box.
    """

    inside: ArrayLike = ()
    outside: ArrayLike = ()
    boxes: Sequence[ArrayLike] = ()

    def clicks(self, image: LayerImage, geometry: Geometry) -> dict[int, SliceClicks]:
        """By slice of the upright image, 0 for a picture.

        Args:
            image: that was drawn on.
            geometry: of what was opened of it.

        Raises:
            InputError: nothing was drawn, something lies outside of the image, or a box has no area in the slices.
        """
        slices: dict[int, SliceClicks] = defaultdict(SliceClicks)
        for points, label in ((self.inside, 1), (self.outside, 0)):
            for point in np.asarray(points, dtype=float).reshape(-1, len(image.shape)):
                column, row, number = upright_place(image.opened_index(_on_image(point, image)), geometry)
                slices[number].points.append((column, row))
                slices[number].labels.append(label)
        for corners in self.boxes:
            _add_box(np.asarray(corners, dtype=float), image, geometry, slices)
        if not slices:
            raise InputError("there is nothing to correct by; add points or a box to a layer, and choose that layer")
        return dict(slices)


def _on_image(point: np.ndarray, image: LayerImage) -> np.ndarray:
    """A point that lies on the image, moved to the middle of a pixel at its rim."""
    last = np.array(image.shape) - 1.0
    if (point < -0.5).any() or (point > last + 0.5).any():
        raise InputError(f"the point {_told(point)} lies outside of {image.name!r}, whose shape is {image.shape}")
    return np.clip(point, 0, last)


def _add_box(corners: np.ndarray, image: LayerImage, geometry: Geometry, slices: dict[int, SliceClicks]) -> None:
    last = np.array(image.shape) - 1.0
    low, high = corners.min(axis=0), corners.max(axis=0)
    if (high < -0.5).any() or (low > last + 0.5).any():
        raise InputError(f"the box at {_told(low)} lies outside of {image.name!r}, whose shape is {image.shape}")
    first, end = (image.opened_index(np.clip(corner, 0, last)) for corner in (low, high))
    numbers, box = upright_box(first, end, geometry)
    if box[0] == box[2] or box[1] == box[3]:
        raise InputError(
            f"the box at {_told(low)} has no area in the slices that the networks see; draw it in "
            f"{geometry.plane or 'the'} slices"
        )
    for number in numbers:
        slices[number].box = box


def _told(point: np.ndarray) -> str:
    return ", ".join(f"{value:.1f}" for value in point)
