"""A client's clicks and boxes, from the index of the image's file to the upright picture that SAM sees."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from medclipsam_monai.base.checked_fields import is_number, shown
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import Geometry
from medclipsam_monai.label.options import choice_option
from medclipsam_monai.label.viewers import is_slicer
from medclipsam_monai.transforms import VisualPrompts

MOST_CLICKS = 1_000
_AXES = "x, y" + " (and z in a volume)"
CORNERS, AXES = "corners", "axes"
"""The orders of a roi: [x0, y0, x1, y1(, z0, z1)], or [x0, x1, y0, y1(, z0, z1)]."""


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
        """As SAM's prompt: the client's own box, else the one that the text found, and the clicks.

        Args:
            text_box: (4,) x0, y0, x1, y1, or None.
        """
        box = text_box if self.box is None else torch.tensor(self.box)
        points = torch.tensor(self.points).view(1, -1, 2) if self.points else None
        labels = torch.tensor(self.labels).view(1, -1) if self.points else None
        return VisualPrompts(None if box is None else box.view(1, 4).float(), points, labels)


def read_clicks(request: Mapping[str, Any], geometry: Geometry) -> dict[int, SliceClicks]:
    """The clicks of a request by slice of the upright image; slice 0 for pictures.

    Args:
        request: "foreground" and "background", lists of [x, y] or [x, y, z], and "roi", [x0, y0, x1, y1] or
            [x0, y0, x1, y1, z0, z1], in the index of the image's file, columns first, as viewers give it. With
            "roi_order" "axes" a roi is [x0, x1, y0, y1, z0, z1]; that is what 3D Slicer sends, of which it is taken
            to be the order unless it says "corners".
        geometry: of the image; a roi is cut to it.

    Raises:
        InputError: there is none, one is no point, a point lies outside the image or the whole roi does.
    """
    slices: dict[int, SliceClicks] = defaultdict(SliceClicks)
    for key, label in (("foreground", 1), ("background", 0)):
        for point in _list(request, key):
            column, row, number = _to_display(_numbers(point, key, (2, 3)), geometry, key)
            slices[number].points.append((column, row))
            slices[number].labels.append(label)
    roi = _list(request, "roi")
    if roi:
        _add_box(_corners(_numbers(roi, "roi", (4, 6)), request), geometry, slices)
    if not slices:
        raise InputError("there is no click; give foreground or background points, or a roi")
    return dict(slices)


def _corners(roi: list[float], request: Mapping[str, Any]) -> list[float]:
    """A roi as [x0, y0, x1, y1] or [x0, y0, x1, y1, z0, z1]."""
    orders = [AXES, CORNERS] if is_slicer(request) and len(roi) == 6 else [CORNERS, AXES]
    if choice_option(request, "roi_order", orders) == CORNERS:
        return roi
    x0, x1, y0, y1, *depth = roi
    return [x0, y0, x1, y1, *depth]


def _add_box(roi: Sequence[float], geometry: Geometry, slices: dict[int, SliceClicks]) -> None:
    x0, y0, x1, y1, *depth = roi
    z0, z1 = (0.0, 0.0) if geometry.flat or not depth else depth  # what is flat has no depth to be outside of
    if x0 == x1 or y0 == y1:
        raise InputError(f"roi must be a box with an area, [x0, y0, x1, y1] or [x0, y0, x1, y1, z0, z1], got {roi}")
    sides = zip((x0, y0, z0), (x1, y1, z1), _sizes(geometry), strict=True)
    cut = [_cut(low, high, size, roi, geometry) for low, high, size in sides]
    first, last = (_to_display(corner, geometry, "roi") for corner in zip(*cut, strict=True))
    (left, right), (top, bottom), (start, end) = (sorted(pair) for pair in zip(first, last, strict=True))
    if left == right or top == bottom:
        raise InputError(f"roi {list(roi)} leaves less than a pixel of the image, whose size is {_size(geometry)}")
    for number in range(int(start), int(end) + 1):
        slices[number].box = (left, top, right, bottom)


def _cut(first: float, last: float, size: int, roi: Sequence[float], geometry: Geometry) -> tuple[float, float]:
    """The part of a roi's side that lies on the image."""
    low, high = sorted((first, last))
    if high < 0 or low > size - 1:
        raise InputError(f"roi {list(roi)} lies outside the image, whose size is {_size(geometry)}")
    return max(low, 0.0), min(high, size - 1.0)


def _sizes(geometry: Geometry) -> tuple[int, ...]:
    """Columns, rows and slices of the image's file."""
    rows_or_columns, other, depth = geometry.volume_shape
    return (other, rows_or_columns, depth) if geometry.kind == "picture" else (rows_or_columns, other, depth)


def _size(geometry: Geometry) -> str:
    return " x ".join(str(size) for size in _sizes(geometry)[: 2 if geometry.flat else 3])


def _list(request: Mapping[str, Any], key: str) -> list[Any]:
    value = request.get(key) or []
    if not isinstance(value, list) or len(value) > MOST_CLICKS:
        raise InputError(f"{key} must be a list, of at most {MOST_CLICKS:,}, got {shown(value)}")
    return value


def _numbers(values: Any, key: str, lengths: tuple[int, int]) -> list[float]:
    good = isinstance(values, list) and len(values) in lengths
    if not good or not all(is_number(value) for value in values):
        raise InputError(f"{key} must hold {lengths[0]} or {lengths[1]} numbers, {_AXES}, got {shown(values)}")
    return [float(value) for value in values]


def _to_display(point: Sequence[float], geometry: Geometry, key: str) -> tuple[float, float, int]:
    """Index in the file, columns first, to column, row and slice of the upright image."""
    index = [*point, 0.0][:3]
    if geometry.kind == "picture":
        index[:2] = index[1::-1]  # a picture's array has rows first
    shown = [0.0, 0.0, 0.0]
    for value, size, (axis, flip) in zip(index, geometry.volume_shape, geometry.orientation, strict=True):
        if not 0 <= value <= size - 1:
            raise InputError(f"{key} {list(point)} lies outside the image, whose file has the shape {geometry.shape}")
        shown[axis] = value if flip > 0 else size - 1 - value
    row, column, number = shown
    return column, row, round(number)
