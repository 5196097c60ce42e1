"""Clicks and boxes by slice, from the index of the image's array to the upright picture that SAM sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from medclipsam_monai.io import Geometry
from medclipsam_monai.transforms import VisualPrompts


@dataclass
class SliceClicks:
    """The prompts of one slice, in pixels of the upright picture.

    Attributes:
        points: (x, y) of each click.
        labels: for each 1 for foreground, 0 for background.
        box: x0, y0, x1, y1, or None.
    """

    points: list[tuple[float, float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    box: tuple[float, float, float, float] | None = None

    def prompts(self, text_box: Tensor | None = None) -> VisualPrompts:
        """As SAM's prompt: the drawn box, else the one that the text found, and the clicks.

        Args:
            text_box: (4,) x0, y0, x1, y1, or None.
        """
        box = text_box if self.box is None else torch.tensor(self.box)
        points = torch.tensor(self.points).view(1, -1, 2) if self.points else None
        labels = torch.tensor(self.labels).view(1, -1) if self.points else None
        return VisualPrompts(None if box is None else box.view(1, 4).float(), points, labels)


def upright_place(index: Sequence[float], geometry: Geometry) -> tuple[float, float, int]:
    """Index in the image's array, (i, j) or (i, j, k), to column, row and slice of the upright image."""
    place = [0.0, 0.0, 0.0]
    for value, size, (axis, flip) in zip([*index, 0.0][:3], geometry.volume_shape, geometry.orientation, strict=True):
        place[axis] = value if flip > 0 else size - 1 - value
    row, column, number = place
    return column, row, round(number)


def upright_box(
    first: Sequence[float], last: Sequence[float], geometry: Geometry
) -> tuple[range, tuple[float, float, float, float]]:
    """A box between two corners in the image's array, both inclusive: its slices, and x0, y0, x1, y1 in each of them.

    A box without an area in the slices has x0 = x1 or y0 = y1.
    """
    corners = [upright_place(corner, geometry) for corner in (first, last)]
    (left, right), (top, bottom), (start, end) = (sorted(pair) for pair in zip(*corners, strict=True))
    return range(int(start), int(end) + 1), (left, top, right, bottom)
