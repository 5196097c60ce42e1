"""Volumes whose slices are not evenly apart, laid on the even grid that files such as NIfTI can hold.

The grid's step is the smallest distance between two slices, and each of its slices is the nearest acquired one, so an
acquired slice stands within half a step of its true place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medclipsam_monai.io.geometry import Geometry
from medclipsam_monai.io.limits import check_size


@dataclass(frozen=True)
class EvenGrid:
    """An even grid for the slices of a volume.

    Attributes:
        step: millimetres between its slices.
        source: for each of its slices the number of the acquired slice that it shows.
        places: for each acquired slice the number of the grid's slice that is nearest to it.
        widest: the greatest distance between two acquired slices in millimetres.
    """

    step: float
    source: tuple[int, ...]
    places: tuple[int, ...]
    widest: float

    def lay(self, array: np.ndarray) -> np.ndarray:
        """An array of acquired slices (x, y, z) as (x, y, slices of the grid)."""
        return array[:, :, list(self.source)]

    def affine(self, affine: np.ndarray) -> np.ndarray:
        """The acquired volume's 4 x 4 affine with the grid's step along the third axis."""
        result = affine.copy()
        result[:3, 2] *= self.step / np.linalg.norm(affine[:3, 2])
        return result

    def __str__(self) -> str:
        return (
            f"slices are {self.step:.2f} to {self.widest:.2f} mm apart; the mask is laid on an even grid of "
            f"{self.step:.2f} mm ({len(self.source)} slices)"
        )


def even_grid(geometry: Geometry) -> EvenGrid | None:
    """The even grid of a volume; None where its slices are evenly apart. ``str()`` of it says what is done.

    Args:
        geometry: the image's ``meta["geometry"]``.

    Raises:
        InputError: two slices are so near to each other that the grid has more voxels than the limit.
    """
    if geometry.slice_positions is None:
        return None
    positions = np.abs(np.array(geometry.slice_positions, dtype=float))
    gaps = np.abs(np.diff(positions))
    step = float(gaps.min())
    count = int(np.floor(positions[-1] / step + 0.5)) + 1
    check_size((*geometry.shape[:2], count), f"the mask on an even grid of {step:g} mm")
    wanted = step * np.arange(count)
    following = np.clip(np.searchsorted(positions, wanted), 1, len(positions) - 1)
    nearer_before = wanted - positions[following - 1] <= positions[following] - wanted
    places = np.floor(positions / step + 0.5)
    source = following - nearer_before
    return EvenGrid(step, tuple(map(int, source)), tuple(map(int, places)), float(gaps.max()))


def acquired_slices(values: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Takes the acquired slices out of an upright mask that was written on an even grid.

    Args:
        values: (H, W, D) as the mask's file gives it.
        geometry: of the image.

    Returns:
        The mask on the image's own slices; ``values`` as they are where the slices are even, or it has others.
    """
    grid, (axis, flip) = even_grid(geometry), geometry.orientation[2]
    if grid is None or values.ndim != 3 or values.shape[axis] != len(grid.source):
        return values
    places = np.array(grid.places)
    return np.take(values, places if flip > 0 else len(grid.source) - 1 - places[::-1], axis)


def drawn_evenly(values: Tensor, geometry: Geometry) -> Tensor:
    """An upright image or mask as pictures draw it: cut across its acquired slices, each is as wide as its distances.

    Args:
        values: (C, H, W[, D]).
        geometry: of the image.

    Returns:
        ``values`` on the even grid along H or W; as they are where slices are even, or where each is a picture.
    """
    grid, (axis, flip) = even_grid(geometry), geometry.orientation[2]
    if grid is None or axis == 2:
        return values
    source = torch.tensor(grid.source)
    return values.index_select(axis + 1, source if flip > 0 else (len(grid.places) - 1 - source).flip(0))
