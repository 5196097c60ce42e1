"""The three planes of a volume: which slice is shown, and where a place of it lies in the image that was opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import DISPLAY_CODES
from medclipsam_monai.zero_shot.opened import OpenedImage

PLANES = tuple(DISPLAY_CODES)


@dataclass(frozen=True, eq=False)
class Plane:
    """A way to look at an upright image (H, W) or (H, W, D).

    Attributes:
        name: "axial", "coronal" or "sagittal"; "" of a picture.
        turn: (3, 2), nibabel's orientation from the image's axes to rows, columns and slices of this plane.
        shape: the image's, as three axes.
        spacing: millimetres between rows, columns and slices of this plane; None where unknown.
        is_cut: whether it is the plane that the networks see.
    """

    name: str
    turn: np.ndarray
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float] | None
    is_cut: bool

    @property
    def slices(self) -> int:
        """How many there are."""
        return self.sides[2]

    @property
    def sides(self) -> tuple[int, int, int]:
        """Rows, columns and slices."""
        sides = [0, 0, 0]
        for size, (axis, _) in zip(self.shape, self.turn, strict=True):
            sides[int(axis)] = size
        return sides[0], sides[1], sides[2]

    def cut(self, values: np.ndarray, number: int) -> np.ndarray:
        """A slice (h, w) of values (H, W) or (H, W, D)."""
        turned: np.ndarray = nib.apply_orientation(values.reshape(self.shape), self.turn)
        return turned[:, :, number]

    def place(self, across: float, down: float, number: int) -> tuple[float, float, int]:
        """x, y and slice in the opened image of a place in a slice of this plane, in pixels."""
        to_image = nib.orientations.inv_ornt_aff(self.turn, self.shape)
        row, column, depth = (to_image @ [down, across, number, 1.0])[:3]
        return float(column), float(row), round(float(depth))

    def pixel_size(self) -> tuple[float, float]:
        """Width and height of a pixel as it is drawn, the smaller one 1."""
        if self.spacing is None:
            return 1.0, 1.0
        height, width = self.spacing[:2]
        if not (0 < height < np.inf and 0 < width < np.inf):
            return 1.0, 1.0
        return width / min(height, width), height / min(height, width)


def planes_of(opened: OpenedImage) -> dict[str, Plane]:
    """The planes that an image can be looked at in, by name, the one that is cut first; of a picture one, ""."""
    sides = opened.display.shape[1:]
    spacing = opened.spacing
    if len(sides) == 2:
        flat = None if spacing is None else (spacing[0], spacing[1], 1.0)
        return {"": Plane("", _AS_IT_IS, (sides[0], sides[1], 1), flat, True)}
    own = opened.geometry.plane or PLANES[0]
    axes = nib.io_orientation(opened.geometry.display_affine)
    found = {}
    for name in dict.fromkeys([own, *PLANES]):
        turn = nib.orientations.ornt_transform(axes, nib.orientations.axcodes2ornt(DISPLAY_CODES[name]))
        turn = _AS_IT_IS if name == own else turn
        found[name] = Plane(name, turn, (sides[0], sides[1], sides[2]), _turned(spacing, turn), name == own)
    return found


_AS_IT_IS = np.array([[0, 1], [1, 1], [2, 1]], float)


def _turned(spacing: Sequence[float] | None, turn: np.ndarray) -> tuple[float, float, float] | None:
    if spacing is None or len(spacing) < 3:
        return None
    turned = [0.0, 0.0, 0.0]
    for length, (axis, _) in zip(spacing, turn, strict=True):
        turned[int(axis)] = float(length)
    return turned[0], turned[1], turned[2]


def checked_slice(plane: Plane, number: int) -> int:
    """A slice's number from 0.

    Raises:
        InputError: there is none such.
    """
    if not 0 <= number < plane.slices:
        raise InputError(f"the slice must be one from 1 to {plane.slices}, got {number + 1}")
    return number
