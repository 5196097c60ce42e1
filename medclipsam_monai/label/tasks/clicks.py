"""A client's clicks and boxes, from the index of the image's file to the upright picture that SAM sees."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from medclipsam_monai.base.checked_fields import is_number, shown
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import Geometry
from medclipsam_monai.label.options import choice_option
from medclipsam_monai.label.viewers import is_slicer
from medclipsam_monai.zero_shot.clicks.prompts import SliceClicks, upright_box, upright_place

MOST_CLICKS = 1_000
_AXES = "x, y" + " (and z in a volume)"
CORNERS, AXES = "corners", "axes"
"""The orders of a roi: [x0, y0, x1, y1(, z0, z1)], or [x0, x1, y0, y1(, z0, z1)]."""


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
            index = _index(_numbers(point, key, (2, 3)), geometry, key)
            column, row, number = upright_place(index, geometry)
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
    first, last = (_index(corner, geometry, "roi") for corner in zip(*cut, strict=True))
    numbers, box = upright_box(first, last, geometry)
    if box[0] == box[2] or box[1] == box[3]:
        raise InputError(f"roi {list(roi)} leaves less than a pixel of the image, whose size is {_size(geometry)}")
    for number in numbers:
        slices[number].box = box


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


def _index(point: Sequence[float], geometry: Geometry, key: str) -> list[float]:
    """Index in the file, columns first, to the index of its array."""
    index = [*point, 0.0][:3]
    if geometry.kind == "picture":
        index[:2] = index[1::-1]  # a picture's array has rows first
    for value, size in zip(index, geometry.volume_shape, strict=True):
        if not 0 <= value <= size - 1:
            raise InputError(f"{key} {list(point)} lies outside the image, whose file has the shape {geometry.shape}")
    return index
