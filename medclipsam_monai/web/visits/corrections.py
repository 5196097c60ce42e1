"""Clicks and boxes of a visitor, and a segmentation with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.prompts import TextTarget
from medclipsam_monai.zero_shot.clicks.prompts import SliceClicks
from medclipsam_monai.zero_shot.clicks.segment import segment_clicks
from medclipsam_monai.zero_shot.opened import OpenedImage
from medclipsam_monai.zero_shot.result import ZeroShotResult
from medclipsam_monai.zero_shot.segmentation import Segmentation
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter
from medclipsam_monai.zero_shot.volumes.result import VolumeResult

MOST_MARKS = 500
_SMALLEST_BOX = 2  # pixels


@dataclass(frozen=True)
class Mark:
    """A click or a box in a slice of the upright image, in its pixels.

    Attributes:
        name: of the class that it is about.
        number: of the slice, from 0.
        place: x, y of a click, or x0, y0, x1, y1 of a box.
        inside: whether the class is there; of a box always.
    """

    name: str
    number: int
    place: tuple[float, ...]
    inside: bool = True

    @property
    def is_box(self) -> bool:
        return len(self.place) == 4


def checked_mark(mark: Mark, shape: Sequence[int], names: Sequence[str]) -> Mark:
    """A mark that lies on an image (H, W[, D]), its box from the top left to the bottom right.

    Raises:
        InputError: it lies outside, is of no class, or is a box without an area.
    """
    if mark.name not in names:
        raise InputError(f"there is no class {mark.name!r} to correct; ask for it first")
    depth = shape[2] if len(shape) == 3 else 1
    if not 0 <= mark.number < depth:
        raise InputError(f"the slice must be one from 1 to {depth}, got {mark.number + 1}")
    across, down = mark.place[0::2], mark.place[1::2]
    for values, size in ((across, shape[1]), (down, shape[0])):
        if not all(-0.5 <= value <= size - 0.5 for value in values):  # a number that is none, too
            raise InputError("the click lies outside of the picture")
    if not mark.is_box:
        return mark
    box = (min(across), min(down), max(across), max(down))
    if box[2] - box[0] < _SMALLEST_BOX or box[3] - box[1] < _SMALLEST_BOX:
        raise InputError("the box has no area; draw from one corner of the target to the other")
    return replace(mark, place=box)


def by_slice(marks: Sequence[Mark]) -> dict[int, SliceClicks]:
    """The prompts of each slice; of several boxes the last one counts."""
    slices: dict[int, SliceClicks] = {}
    for mark in marks:
        clicks = slices.setdefault(mark.number, SliceClicks())
        if mark.is_box:
            clicks.box = (mark.place[0], mark.place[1], mark.place[2], mark.place[3])
        else:
            clicks.points.append((mark.place[0], mark.place[1]))
            clicks.labels.append(int(mark.inside))
    return slices


def corrected(
    segmentation: Segmentation, opened: OpenedImage, marks: Sequence[Mark], segmenter: TextSegmenter
) -> Segmentation:
    """A segmentation whose masks are the segmenter's answers to the marks, in the slices that hold some.

    Args:
        segmentation: by text.
        opened: the image that it is of.
        marks: of the visitor; those of classes that were not asked for count for nothing.
        segmenter: that made it.

    Returns:
        Its record says which marks were made.
    """
    targets = {target.name: target for target in segmentation.request.targets}
    marks = [mark for mark in marks if mark.name in targets]
    if not marks:
        return segmentation
    found = segmentation.found
    mask, labels = found.mask.clone(), segmentation.label_map.clone()
    for k, name in enumerate(found.names):
        slices = by_slice([mark for mark in marks if mark.name == name])
        if slices:
            new = segment_clicks(opened, slices, _with_words(targets[name]), segmenter)
            _put(mask, labels, k, new, sorted(slices))
    told = {**segmentation.request.parameters, "corrections": _told(marks)}
    request = replace(segmentation.request, parameters=told)
    return replace(segmentation, found=_with_masks(found, mask, labels), request=request)


def _with_words(target: TextTarget) -> TextTarget | None:
    """A class whose text gives a box where none is drawn; None of one that examples show."""
    return target if target.sentences else None


def _put(mask: Tensor, labels: Tensor, k: int, new: Tensor, numbers: Sequence[int]) -> None:
    """Put a class's new mask (H, W[, D]) in the slices in place of the old one; it goes before other classes."""
    for number in numbers:
        where: Any = (..., number) if new.ndim == 3 else ...
        mask[k][where] = new[where]
        labels[where][labels[where] == k + 1] = 0
        labels[where][new[where]] = k + 1


def _with_masks(found: ZeroShotResult | VolumeResult, mask: Tensor, labels: Tensor) -> ZeroShotResult | VolumeResult:
    for k in range(len(mask)):  # a pixel is one class's where somebody said so
        mask[k] &= (labels == 0) | (labels == k + 1)
    if isinstance(found, VolumeResult):
        return replace(found, mask=mask, label_map=labels)
    return replace(found, mask=mask)


def _told(marks: Sequence[Mark]) -> list[dict[str, Any]]:
    """As a record says them: pixels of the upright image, slices from 0."""
    return [
        {
            "class": mark.name,
            "slice": mark.number,
            "box" if mark.is_box else "click": [round(value, 2) for value in mark.place],
            "inside": mark.inside,
        }
        for mark in marks
    ]
