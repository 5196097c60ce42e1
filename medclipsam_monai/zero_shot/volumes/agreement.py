"""Neighbouring slices of a body look alike: a mask that leaves both of its neighbours is asked for again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from medclipsam_monai.zero_shot.encoded import EncodedImages
from medclipsam_monai.zero_shot.result import ZeroShotResult
from medclipsam_monai.zero_shot.volumes.stages import Stages

_ALIKE = 0.5
"""Dice coefficient of two neighbours that speak for a body between them, and under which a mask leaves one."""


@dataclass(frozen=True)
class Asked:
    """What was found in a slice, and the slice as the networks see it.

    Attributes:
        result: what was found.
        images: a batch of slices.
        row: of the slice in it.
    """

    result: ZeroShotResult
    images: EncodedImages
    row: int


def in_agreement(network: Stages, slices: Iterable[Asked]) -> Iterator[ZeroShotResult]:
    """The slices' results, those that leave their neighbours asked again with what lies between the neighbours.

    That is given as the preset's boxes and points, and as a mask to a segmenter that takes masks.

    Three slices are held at a time.
    """
    before: Asked | None = None
    here: Asked | None = None
    for after in slices:
        if before is not None and here is not None:
            here = replace(here, result=_agreed(network, before.result, here, after.result))
        if before is not None:
            yield before.result
        before, here = here, after
    yield from (one.result for one in (before, here) if one is not None)


def _agreed(network: Stages, before: ZeroShotResult, here: Asked, after: ZeroShotResult) -> ZeroShotResult:
    found = here.result
    for k in range(len(found.names)):
        neighbours = before.mask[k], after.mask[k]
        if not leaves(found.mask[k], *neighbours):
            continue
        wanted = between(*neighbours)
        if not wanted.any():
            continue
        (prompts,) = network.visual_prompts(wanted[None])
        (embedding,) = here.images.embeddings([here.row])
        again = network.masks(embedding, [prompts.with_mask(wanted)], (wanted.shape[0], wanted.shape[1]))
        mask = network.merge(again.probability, wanted[None])[0]
        if min(dice(mask, neighbour) for neighbour in neighbours) < _ALIKE:
            continue
        boxes = torch.zeros(0, 4) if prompts.boxes is None else prompts.boxes
        found = replace(
            found,
            probability=_with(found.probability, k, again.probability[0]),
            mask=_with(found.mask, k, mask),
            boxes=(*found.boxes[:k], boxes, *found.boxes[k + 1 :]),
            quality=(*found.quality[:k], *again.quality, *found.quality[k + 1 :]),
            object_score=(*found.object_score[:k], *again.object_score, *found.object_score[k + 1 :]),
        )
    return found


def _with(stack: Tensor, k: int, one: Tensor) -> Tensor:
    changed = stack.clone()
    changed[k] = one
    return changed


def leaves(mask: Tensor, before: Tensor, after: Tensor) -> bool:
    """Whether a mask (H, W) is like neither of its neighbours, though these are like each other."""
    return dice(before, after) >= _ALIKE and max(dice(mask, before), dice(mask, after)) < _ALIKE


def between(before: Tensor, after: Tensor) -> Tensor:
    """The shape (H, W) half way between two, by their distance to the border (Raya and Udupa, 1990)."""
    return torch.from_numpy(_level(before.numpy()) + _level(after.numpy()) > 0)


def _level(mask: np.ndarray) -> np.ndarray:
    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    return np.asarray(inside - outside)


def dice(one: Tensor, other: Tensor) -> float:
    """Dice coefficient of two masks (H, W) bool; 0 where both are empty."""
    total = int(one.count_nonzero() + other.count_nonzero())
    return 2 * int((one & other).count_nonzero()) / total if total else 0.0
