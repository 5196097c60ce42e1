"""An image just as its file holds it: what every format's reader gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np


@dataclass(frozen=True)
class StoredGrid:
    """Where the voxels of a file lie.

    Attributes:
        kind: name of the format that its masks are written in, see `FORMATS`.
        shape: of the file's array without channels. Pictures are (rows, columns); the others keep their files' index
            order, x (columns) first.
        affine: 4 x 4, voxel index to RAS millimetres; None for a picture.
        header: what a writer needs besides the affine: nibabel's header, or ITK's frame.
        spacing: (row, column) millimetres of a picture that states them; volumes have them in the affine.
        spatial: whether the affine says where the patient lies.
        orientation: nibabel's orientation from a picture's three axes to display rows, columns and slices, where it
            does not lie upright in its file (EXIF); None where it does, and for volumes, whose affine tells it.
        slice_positions: millimetres along the third axis from the first slice to each, where they are not evenly
            apart; None where they are, as the affine says.
    """

    kind: str
    shape: tuple[int, ...]
    affine: np.ndarray | None = None
    header: Any = None
    spacing: tuple[float, ...] | None = None
    spatial: bool = True
    orientation: tuple[tuple[int, int], ...] | None = None
    slice_positions: tuple[float, ...] | None = None

    def filled(self, array: np.ndarray, meta: Mapping[str, Any], sha256: str) -> StoredImage:
        """The image of this grid, see `StoredImage`."""
        place = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "shape"}
        return StoredImage(array, meta=meta, sha256=sha256, **place)


@dataclass(frozen=True)
class StoredImage:
    """The voxels of a file, and where they lie.

    Attributes:
        array: the file's array with channels last, shape ``shape + (C,)``.
        meta: what is known for display: uint8, window_center, window_width, photometric, modality.
        sha256: see `hash_files`; None for an image that is of no file.

    The others are those of `StoredGrid`.
    """

    array: np.ndarray
    kind: str
    affine: np.ndarray | None = None
    header: Any = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    spacing: tuple[float, ...] | None = None
    spatial: bool = True
    orientation: tuple[tuple[int, int], ...] | None = None
    slice_positions: tuple[float, ...] | None = None
    sha256: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array without channels."""
        return self.array.shape[:-1]
