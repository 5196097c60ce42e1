"""The stored frames that an image was read from, and what was found in it upright as an array of these frames.

The reader sorts slices along their normal, leaves out second copies and turns the volume upright; `Geometry` says how,
and the headers say which slice each file or frame is. Pixels are never decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import open_file_sha256
from medclipsam_monai.io.dicom.geometry import POSITION_TOLERANCE, Slice
from medclipsam_monai.io.dicom.header import frame_count, parse_header
from medclipsam_monai.io.formats.volumes import LPS_TO_RAS
from medclipsam_monai.io.geometry import Geometry
from medclipsam_monai.io.guard import one_line, only_our_warnings
from medclipsam_monai.io.records import joined_hash

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SourceFrames:
    """The frames of one multi-frame file in its own order, or of several files in the order of their slices.

    Attributes:
        headers: of the files, without pixels; those of second copies are left out.
        geometry: of the image that was read from them.
        slices: for each frame, which slice of the volume that was read it is.
    """

    headers: tuple[Dataset, ...]
    geometry: Geometry
    slices: tuple[int, ...]

    def stored(self, values: np.ndarray | Tensor, frames: Sequence[int] | None = None) -> np.ndarray:
        """Something upright as the frames store it.

        Args:
            values: (H, W[, D]), or (C, H, W[, D]).
            frames: which ones; all by default.

        Returns:
            (F, rows, columns), or (F, rows, columns, C): where it can be a view, in which nothing may be written.
        """
        array = np.asarray(values if isinstance(values, np.ndarray) else values.detach().cpu())
        dimensions = len(self.geometry.display_shape)
        if array.ndim > dimensions:
            array = np.moveaxis(array, 0, -1)
        if array.shape[:dimensions] != self.geometry.display_shape:
            raise ValueError(f"values must be {self.geometry.display_shape} like their image, got {array.shape}")
        slices = _slices_first(array if dimensions == 3 else np.expand_dims(array, 2), self.geometry)
        wanted = self.slices if frames is None else [self.slices[frame] for frame in frames]
        return slices if tuple(wanted) == tuple(range(len(slices))) else slices[list(wanted)]


def _slices_first(array: np.ndarray, geometry: Geometry) -> np.ndarray:
    """An upright (H, W, D, ...) as a view (slices, rows, columns, ...) of the array that was read."""
    inverse = np.empty((3, 2))
    for axis, (target, flip) in enumerate(geometry.orientation):
        inverse[target] = axis, flip
    turned = nib.apply_orientation(array, inverse)
    if geometry.kind == "picture":  # rows and columns as they are
        return np.moveaxis(turned, 2, 0)
    return np.swapaxes(turned, 0, 2)


def read_source_frames(files: Sequence[Path], geometry: Geometry, sha256: str | None = None) -> SourceFrames:
    """Read the headers of an image's files.

    Args:
        files: of one image, in any order, copies among them.
        geometry: ``meta["geometry"]`` of the image that `read_image` made of them.
        sha256: ``meta["sha256"]`` of that image; files that hold something else now may be of another patient.

    Raises:
        InputError: a file cannot be read, or they are not those that were read.
    """
    with only_our_warnings():
        headers, hashes = zip(*(_open_file(path) for path in files), strict=True)
        if sha256 not in (None, joined_hash(hashes)):
            raise _changed()
        if len(headers) == 1:
            return SourceFrames(headers, geometry, _slices_of_frames(headers[0], geometry))
        order = _in_order(headers, geometry)
        if len(order) != geometry.volume_shape[2]:
            raise _changed()
        return SourceFrames(tuple(headers[index] for index in order), geometry, tuple(range(len(order))))


def _open_file(path: Path) -> tuple[Dataset, str]:
    """A file's header, and the hash of all its bytes."""
    with one_line(path, "a DICOM file"), path.open("rb") as file:
        digest = open_file_sha256(file)
        return parse_header(file, path), digest


def _changed() -> InputError:
    return InputError("the files of the image have changed since it was read; segment it again")


def _slices_of_frames(header: Dataset, geometry: Geometry) -> tuple[int, ...]:
    """For each frame of one file its slice."""
    frames = [Slice(header, frame) for frame in range(frame_count(header))]
    distances = _distances(frames, geometry)
    if distances is None:
        return tuple(range(len(frames)))
    return tuple(int(place) for place in np.argsort(np.argsort(distances, kind="stable")))


def _in_order(headers: Sequence[Dataset], geometry: Geometry) -> list[int]:
    """Single-frame files by the places of their slices; of several in one place the first, as the reader takes it."""
    distances = _distances([Slice(header, 0) for header in headers], geometry)
    if distances is None:
        return []
    order = np.argsort(distances, kind="stable")
    apart = np.diff(distances[order], prepend=-np.inf) > POSITION_TOLERANCE
    return [int(index) for index in order[apart]]


def _distances(frames: Sequence[Slice], geometry: Geometry) -> np.ndarray | None:
    """Millimetres of each frame along the row of slices; None where frames have no positions of their own."""
    positions = [frame.position for frame in frames]
    if geometry.affine is None or any(position is None for position in positions):
        return None
    affine = LPS_TO_RAS @ geometry.affine
    points = np.c_[np.array(positions), np.ones(len(positions))].T
    return (np.linalg.inv(affine) @ points)[2] * float(np.linalg.norm(affine[:3, 2]))
