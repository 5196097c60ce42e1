"""How an image's array in its file maps to the upright picture a person sees, and back.

Volumes are shown the radiological way, one plane per slice axis, by nibabel's axis codes of rows, columns and slices:
axial "PLS" (rows run to the patient's back, columns to the patient's left), coronal "ILP", sagittal "IPL". Unless one
asks for a plane, a volume is cut in the one it was acquired in, see `acquired_axis`. An image of a single slice is
shown in its own plane. Pictures stay as they are stored. Only flips and permutations are used, never interpolation, so
a mask goes back voxel for voxel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.formats.stored import StoredGrid, StoredImage
from medclipsam_monai.io.formats.table import FORMATS

if TYPE_CHECKING:
    from torch import Tensor

DISPLAY_CODES: Mapping[str, str] = {"axial": "PLS", "coronal": "ILP", "sagittal": "IPL"}
ACQUIRED = "acquired"
SLICE_AXES = (ACQUIRED, *DISPLAY_CODES)
"""Ways to cut a volume, the default first."""
PLANES = ("sagittal", "coronal", "axial")
"""The plane across each world axis: left-right, back-front, foot-head."""
SMALLEST_SIDE = 8
"""Pixels that each side of a picture must have."""
_COARSER = 1.5  # times the other spacings: slices are this much thicker than their pixels are wide
_FEWER = 4  # times as many voxels along the other axes: a stack of few slices
_AS_STORED = ((0, 1), (1, 1), (2, 1))
_KILOMETRE = 1e6  # in millimetres
_FLATTEST = 1e-3  # volume of the cell of the axes' unit vectors; below it they lie in one plane


@dataclass(frozen=True)
class Geometry:
    """What puts a mask back on its file's own array.

    Attributes:
        kind: name of the format that its masks are written in, see `FORMATS`.
        shape: shape of the file's array, without channels.
        orientation: nibabel's orientation from the file's three axes to display rows, columns and slices.
        flat: the display has no slice axis (pictures and images of one slice).
        affine: 4 x 4, index in the file's array to RAS millimetres; None for pictures.
        header: nibabel's header, or ITK's spacing, origin and direction.
        slice_positions: see `StoredGrid`.
    """

    kind: str
    shape: tuple[int, ...]
    orientation: tuple[tuple[int, int], ...]
    flat: bool
    affine: np.ndarray | None = field(default=None, compare=False)
    header: Any = field(default=None, compare=False, repr=False)
    slice_positions: tuple[float, ...] | None = field(default=None, compare=False, repr=False)

    @property
    def suffix(self) -> str:
        """File suffix of a mask, such as ".png" or ".nii.gz"."""
        return FORMATS[self.kind].mask_suffixes[0]

    @property
    def plane(self) -> str | None:
        """The plane of the pictures that are shown: "axial", "coronal" or "sagittal"; None for a picture."""
        if self.affine is None:
            return None
        across = [axis for axis, _ in self.orientation].index(2)
        return PLANES[int(nib.io_orientation(self.affine)[across, 0])]

    @property
    def volume_shape(self) -> tuple[int, int, int]:
        """The file's shape as three axes."""
        first, second, third = (*self.shape, 1, 1)[:3]
        return first, second, third

    @property
    def display_shape(self) -> tuple[int, ...]:
        """(H, W) or (H, W, D) of the upright image."""
        shape = [0, 0, 0]
        for size, (axis, _) in zip(self.volume_shape, self.orientation, strict=True):
            shape[axis] = size
        return tuple(shape[:2] if self.flat else shape)

    @property
    def display_affine(self) -> np.ndarray:
        """4 x 4, index (row, column, slice) of the upright image to RAS millimetres; identity for pictures."""
        if self.affine is None:
            return np.eye(4)
        return self.affine @ nib.orientations.inv_ornt_aff(np.array(self.orientation), self.volume_shape)

    @property
    def slice_thicknesses(self) -> tuple[float, ...] | None:
        """Millimetres that each slice along the third axis stands for, where slices are not evenly apart.

        Half of the way to each neighbour; the first and the last reach as far outwards as inwards.
        """
        if self.slice_positions is None:
            return None
        gaps = np.abs(np.diff(self.slice_positions))
        return tuple(map(float, (np.r_[gaps[:1], gaps] + np.r_[gaps, gaps[-1:]]) / 2))

    @property
    def voxel_volumes(self) -> np.ndarray | None:
        """Cubic millimetres of an upright volume's voxels; None for pictures and images of one slice.

        Its shape broadcasts to that of the display: one number, or where slices are not evenly apart one a slice along
        the axis that they lie on. A sheared voxel (tilted gantry) has less than the product of its sides.
        """
        if self.affine is None or self.flat:
            return None
        one = abs(float(np.linalg.det(self.affine[:3, :3])))
        if self.slice_thicknesses is None:
            return np.full((1, 1, 1), one)
        axis, flip = self.orientation[2]
        shape = [1, 1, 1]
        shape[axis] = -1
        step = float(np.linalg.norm(self.affine[:3, 2]))
        return one / step * np.array(self.slice_thicknesses)[::flip].reshape(shape)

    @property
    def display_spacing(self) -> tuple[float, ...] | None:
        """Millimetres between rows, columns and slices; None for pictures."""
        if self.affine is None:
            return None
        lengths = np.linalg.norm(self.display_affine[:3, :3], axis=0)
        return tuple(float(f"{length:.9g}") for length in lengths[: len(self.display_shape)])


def acquired_axis(shape: Sequence[int], affine: np.ndarray, kind: str) -> int:
    """The file's axis across the plane in which a volume was acquired.

    Of a DICOM series it is the third, for its slices are files or frames. Other files do not say. There it is the first
    of these axes that gives pictures of at least 8 pixels a side:

    1. the one whose spacing is at least 1.5 times as coarse as both others';
    2. the one with at most a quarter as many voxels as each of the others;
    3. the one from foot to head (axial pictures), then back to front, then left to right.

    Args:
        shape: voxels along the three axes.
        affine: 4 x 4, voxel index to RAS millimetres, not singular.
        kind: name of its format, see `FORMATS`.

    Returns:
        0, 1 or 2.

    Examples:
        >>> import numpy as np
        >>> acquired_axis((20, 256, 256), np.diag([4.0, 0.8, 0.8, 1]), "nifti")  # sagittal slices of 4 mm
        0
    """
    told = FORMATS[kind].slice_axis
    if told is not None:
        return told
    sides, spacings = np.array(shape), np.linalg.norm(affine[:3, :3], axis=0)
    world = [int(axis) for axis in nib.io_orientation(affine)[:, 0]]
    others = [[other for other in range(3) if other != axis] for axis in range(3)]
    coarse = [axis for axis in range(3) if spacings[axis] >= _COARSER * spacings[others[axis]].max()]
    few = [axis for axis in range(3) if _FEWER * sides[axis] <= sides[others[axis]].min()]
    wanted = [*coarse, *few, world.index(2), world.index(1), world.index(0)]
    return next((axis for axis in wanted if sides[others[axis]].min() >= SMALLEST_SIDE), wanted[0])


def _check_affine(affine: np.ndarray, name: str) -> None:
    """Refuse an affine that places no image in space.

    Raises:
        InputError: NaN or infinity, numbers beyond a kilometre, axes that do not span space.
    """
    if not np.isfinite(affine).all():
        raise InputError(f"{name}: its affine holds NaN or infinity; correct the header's geometry")
    if np.abs(affine).max() > _KILOMETRE:
        raise InputError(f"{name}: its affine places voxels beyond a kilometre; correct the header's geometry")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if lengths.min() == 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < _FLATTEST:
        raise InputError(f"{name}: its affine is singular, so it has no orientation; correct the header's geometry")


def make_geometry(stored: StoredGrid | StoredImage, slice_axis: str, name: str) -> Geometry:
    """Finds the flips and the permutation that show an image upright.

    Args:
        stored: the image, or its grid alone, as its file holds it.
        slice_axis: "acquired" (see `acquired_axis`), "axial", "coronal" or "sagittal"; an image of one slice is shown
            in its own plane whatever this is.
        name: the file, for the error message.

    Raises:
        ValueError: an unknown slice axis.
        InputError: the affine is not finite, or does not span space.
    """
    if slice_axis not in SLICE_AXES:
        raise ValueError(f"slice_axis must be one of {', '.join(SLICE_AXES)}, got {slice_axis!r}")
    shape = stored.shape
    if stored.affine is None:
        return Geometry(stored.kind, shape, stored.orientation or _AS_STORED, flat=True, header=stored.header)
    _check_affine(stored.affine, name)
    ornt = nib.io_orientation(stored.affine)
    volume_shape = (*shape, 1, 1)[:3]
    single = [axis for axis, size in enumerate(volume_shape) if size == 1]
    flat = len(single) == 1
    if flat:
        plane = PLANES[int(ornt[single[0], 0])]
    elif slice_axis == ACQUIRED:
        plane = PLANES[int(ornt[acquired_axis(volume_shape, stored.affine, stored.kind), 0])]
    else:
        plane = slice_axis
    target = nib.orientations.axcodes2ornt(DISPLAY_CODES[plane])
    transform = nib.orientations.ornt_transform(ornt, target)
    orientation = tuple((int(axis), int(flip)) for axis, flip in transform)
    return Geometry(
        stored.kind, shape, orientation, flat, stored.affine, stored.header, slice_positions=stored.slice_positions
    )


def to_display(array: np.ndarray, geometry: Geometry, dtype: type | None = None) -> np.ndarray:
    """Turns the file's array, channels last, into the upright image (C, H, W) or (C, H, W, D).

    Args:
        array: of the file's shape, channels last.
        geometry: of the image.
        dtype: of the result, which is turned and converted in one copy; the array's own if None.

    Returns:
        The image; each slice of a volume lies in one piece in memory, as slices are what is looked at.
    """
    volume = array.reshape(*geometry.volume_shape, array.shape[-1])
    slices = nib.apply_orientation(volume, np.array(geometry.orientation)).transpose(3, 2, 0, 1)
    if geometry.flat:
        return np.require(slices[:, 0], dtype, ("C", "W"))
    return np.moveaxis(np.require(slices, dtype, ("C", "W")), 1, -1)


def restore_geometry(mask: np.ndarray | Tensor, geometry: Geometry) -> np.ndarray:
    """Puts an upright mask or map back on the array of the file it was made from.

    Args:
        mask: (H, W[, D]) or (K, H, W[, D]), any type.
        geometry: the image's ``meta["geometry"]``.

    Returns:
        An array of exactly the file's shape; with K > 1 channels, (K, *shape).

    Raises:
        ValueError: the mask's shape is not the image's.
    """
    array = np.asarray(mask if isinstance(mask, np.ndarray) else mask.detach().cpu())
    expected = geometry.display_shape
    if array.shape == expected:
        array = array[None]
    if array.shape[1:] != expected:
        raise ValueError(f"mask must be {expected} or (K, *{expected}) like its image, got {array.shape}")
    if geometry.flat:
        array = array[..., None]
    inverse = np.empty((3, 2))
    for axis, (target, flip) in enumerate(geometry.orientation):
        inverse[target] = axis, flip
    channels = [nib.apply_orientation(channel, inverse).reshape(geometry.shape) for channel in array]
    return np.ascontiguousarray(channels[0] if len(channels) == 1 else np.stack(channels))
