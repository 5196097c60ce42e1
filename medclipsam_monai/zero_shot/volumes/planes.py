"""A volume cut along all three axes, and what two of the three cuts agree on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import DISPLAY_CODES
from medclipsam_monai.zero_shot.volumes.result import VolumeResult

ALL_AXES = "all"
"""The slice axis that means all three."""
_EVEN = 2.0
"""A voxel's longest side by its shortest up to which its volume can be cut along all axes."""
Segment = Callable[[Tensor, float, Hashable], VolumeResult]
"""A volume (3, H, W, D), its mm from slice to slice, and whose its slices are in memory, to its result."""


def segment_planes(
    segment: Segment, volume: Tensor, spacing: Sequence[float] | None, affine: np.ndarray, owner: Hashable
) -> VolumeResult:
    """Segment a volume cut along each axis, and keep what at least two of the three cuts found.

    Args:
        segment: segments a volume along its last axis.
        volume: (3, H, W, D), upright.
        spacing: millimetres along H, W and D.
        affine: 4 x 4, index (row, column, slice) of the volume to RAS millimetres.
        owner: of the slices in memory.

    Returns:
        The result of the volume's own cut, with masks and label map of the agreement, presence, quality and
        object score the means of the three; boxes, coarse masks and maps are those of its own cut.

    Raises:
        InputError: the spacing is unknown, or a voxel is more than twice as long as it is wide.
    """
    if spacing is None or max(spacing) > _EVEN * min(spacing):
        told = "unknown" if spacing is None else " x ".join(f"{side:.3g}" for side in spacing) + " mm"
        raise InputError(
            f"to cut a volume along all axes, the sides of a voxel must be alike, up to 1 to {_EVEN:g}; they are {told}"
        )
    own_axes = nib.io_orientation(affine)
    found = [segment(volume, float(spacing[2]), owner)]
    votes = found[0].mask.to(torch.uint8)
    for plane, codes in DISPLAY_CODES.items():
        turn = nib.orientations.ornt_transform(own_axes, nib.orientations.axcodes2ornt(codes))
        across = [int(axis) for axis, _ in turn].index(2)
        if across == 2:  # its own cut
            continue
        back = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt(codes), own_axes)
        found.append(segment(turned(volume, turn), float(spacing[across]), (owner, plane)))
        votes += turned(found[-1].mask, back)
    mask = votes >= 2
    score = torch.where(mask, votes, 0)
    best, index = score.max(dim=0)
    return replace(
        found[0],
        mask=mask,
        label_map=torch.where(best > 0, index + 1, 0).to(torch.uint8),
        presence=_means([one.presence for one in found]),
        quality=_means([one.quality for one in found]),
        object_score=_means([one.object_score for one in found]),
    )


def turned(stack: Tensor, orientation: np.ndarray) -> Tensor:
    """A stack (C, H, W, D) with its last three axes flipped and permuted, see `nibabel.orientations`."""
    flips = [axis + 1 for axis, (_, flip) in enumerate(orientation) if flip < 0]
    places = np.argsort(orientation[:, 0]).tolist()
    return stack.flip(flips).permute(0, *(int(axis) + 1 for axis in places))


def _means(figures: Sequence[tuple[float | None, ...]]) -> tuple[float | None, ...]:
    known = [[value for value in of if value is not None] for of in zip(*figures, strict=True)]
    return tuple(sum(of) / len(of) if of else None for of in known)
