"""Where the slices of a DICOM image lie: from the positions and directions of its headers to an affine.

The affine's third column is the true step from slice to slice, so a tilted gantry is kept as its shear. Slices that are
not evenly apart keep their distances in ``slice_positions``; the affine then has the smallest one.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.io.dicom.header import first_number, frame_count, frame_value, numbers
from medclipsam_monai.io.formats.volumes import LPS_TO_RAS
from medclipsam_monai.io.geometry import PLANES
from medclipsam_monai.io.limits import check_size

POSITION_TOLERANCE = 1e-3
"""mm; nearer slices lie in one place."""
_DIRECTION_TOLERANCE = 1e-3  # direction cosines
_NO_UNIT_VECTOR = 0.01
_SPACING_TOLERANCE = 1e-3  # of the spacing: half a pixel over 512 of them
UNEVEN = 0.05
"""Of the step: how far a slice may lie from its place in an even row."""
_ROUNDING = 0.01  # mm
_STRAIGHT = 0.1  # of a pixel: what all slices together may drift sideways and still count as straight


class Slice(NamedTuple):
    """A single-frame file, or a frame of a multi-frame one."""

    header: Dataset
    frame: int

    @property
    def position(self) -> np.ndarray | None:
        """ImagePositionPatient (3,) in LPS mm; None where unstated."""
        several = frame_count(self.header) > 1
        if several and "PerFrameFunctionalGroupsSequence" not in self.header:
            return self._reconstructed_position()  # its own position, if any, is one for all frames
        return _array(frame_value(self.header, self.frame, "PlanePositionSequence", "ImagePositionPatient"), 3)

    @property
    def directions(self) -> np.ndarray | None:
        """Direction cosines of rows and columns, (6,); None where unstated."""
        found = frame_value(self.header, self.frame, "PlaneOrientationSequence", "ImageOrientationPatient")
        if found is None and self._detector() is not None:
            found = self.header.DetectorInformationSequence[0].get("ImageOrientationPatient")
        return _array(found, 6)

    def _detector(self) -> Dataset | None:
        """Where the slices of a tomography of nuclear medicine lie (PS3.3 C.8.4.15); None of any other image."""
        detectors = self.header.get("DetectorInformationSequence")
        words = [str(word).upper() for word in self.header.get("ImageType") or ()]
        return detectors[0] if detectors and words[2:3] == ["RECON TOMO"] else None

    def _reconstructed_position(self) -> np.ndarray | None:
        """Of slices of nuclear medicine: behind the first one, or before it where the distance is negative."""
        detector, vector = self._detector(), self.header.get("SliceVector")
        apart = first_number(self.header.get("SpacingBetweenSlices"))
        if detector is None or not apart or vector is None or len(vector) != frame_count(self.header):
            return None
        first, directions = _array(detector.get("ImagePositionPatient"), 3), self.directions
        if first is None or directions is None:
            return None
        normal = np.cross(directions[:3], directions[3:])
        return first + (int(vector[self.frame]) - 1) * apart * normal

    @property
    def spacing(self) -> np.ndarray | None:
        """Millimetres between rows and columns, (2,); None where unstated or not positive."""
        found = _array(frame_value(self.header, self.frame, "PixelMeasuresSequence", "PixelSpacing"), 2)
        return found if found is not None and found.min() > 0 else None


class Placement(NamedTuple):
    """Where slices lie.

    Attributes:
        affine: 4 x 4, (column, row, slice) to RAS mm; None where positions are unstated.
        order: of the slices along their normal, (N,).
        positions: mm of each slice in that order from the first, where they are not evenly apart; else None.
    """

    affine: np.ndarray | None
    order: np.ndarray
    positions: tuple[float, ...] | None = None


def _array(value: object, count: int) -> np.ndarray | None:
    found = numbers(value, count)
    return None if found is None else np.array(found)


def acquisition_plane(header: Dataset) -> str | None:
    """The plane nearest to that of a file's slices: "axial", "coronal" or "sagittal"; None where none is stated."""
    directions = Slice(header, 0).directions
    if directions is None:
        return None
    return PLANES[int(np.argmax(np.abs(np.cross(directions[:3], directions[3:]))))]


def place_slices(slices: Sequence[Slice], name: str) -> Placement:
    """Finds the affine of slices and their order.

    Raises:
        InputError: some positions are missing, two slices lie in one place, their angles or spacings differ, or an even
            grid for them would be larger than the limit.
    """
    known = [position for position in (one.position for one in slices) if position is not None]
    if not known:
        return Placement(None, np.arange(len(slices)))
    if len(known) < len(slices):
        missing = len(slices) - len(known)
        raise InputError(f"{name}: {missing} of {len(slices)} slices state no ImagePositionPatient; take them out")
    directions, spacing = _directions(slices, name), _spacing(slices, name)
    if directions is None or spacing is None:
        if len(known) > 1:
            raise InputError(f"{name}: its slices state no ImageOrientationPatient or PixelSpacing")
        return Placement(None, np.arange(1))
    header = slices[0].header
    thickness = first_number(frame_value(header, 0, "PixelMeasuresSequence", "SliceThickness")) or 1.0
    order, step, positions = np.arange(1), np.cross(directions[0], directions[1]) * abs(thickness), None
    if len(known) > 1:
        order, step, positions = _slice_row(np.array(known), directions, spacing, name)
    if positions is not None:
        even = round(positions[-1] / float(np.linalg.norm(step))) + 1
        check_size((int(header.Columns), int(header.Rows), even), name)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([directions[0] * spacing[1], directions[1] * spacing[0], step], axis=1)
    affine[:3, 3] = known[order[0]]
    return Placement(LPS_TO_RAS @ affine, order, positions)


def _directions(slices: Sequence[Slice], name: str) -> np.ndarray | None:
    """Row and column direction (2, 3), orthonormal, the same for all slices; None if unstated."""
    values = [one.directions for one in slices]
    stated = [value for value in values if value is not None]
    if not stated or len(stated) < len(values):
        return None
    if np.abs(np.array(stated) - stated[0]).max() > _DIRECTION_TOLERANCE:
        raise InputError(f"{name}: its slices lie at different angles; take the localizers out of the series")
    rows, columns = stated[0].reshape(2, 3)
    lengths = np.linalg.norm(stated[0].reshape(2, 3), axis=1)
    if np.abs(lengths - 1).max() > _NO_UNIT_VECTOR or abs(rows @ columns) > _NO_UNIT_VECTOR:
        raise InputError(f"{name}: ImageOrientationPatient must be two unit vectors at a right angle")
    rows = rows / lengths[0]
    columns = columns - (columns @ rows) * rows
    return np.stack([rows, columns / np.linalg.norm(columns)])


def _spacing(slices: Sequence[Slice], name: str) -> np.ndarray | None:
    """Row and column spacing (2,) in mm, the same for all slices but for rounding; None if unstated."""
    values = [one.spacing for one in slices]
    stated = [value for value in values if value is not None]
    if not stated:
        return None
    if len(stated) < len(values) or (np.abs(np.array(stated) / stated[0] - 1) > _SPACING_TOLERANCE).any():
        raise InputError(f"{name}: its slices differ in PixelSpacing; a series must have one")
    return stated[0]


def _slice_row(
    points: np.ndarray, directions: np.ndarray, spacing: np.ndarray, name: str
) -> tuple[np.ndarray, np.ndarray, tuple[float, ...] | None]:
    """Order of the slices along their normal, the step from one to the next (3,) in LPS mm, uneven distances."""
    normal = np.cross(directions[0], directions[1])
    order = np.argsort(points @ normal, kind="stable")
    points = points[order] - points[order[0]]
    gaps = np.diff(points @ normal)
    double = int((gaps < POSITION_TOLERANCE).sum())
    if double:
        raise InputError(
            f"{name}: {double} of {len(points)} slices lie where another one does (several phases or echoes); "
            "keep one per position"
        )
    axis = _row_direction(points, normal, float(spacing.min()), name)
    distances = points @ axis
    step = float(distances[-1]) / (len(points) - 1)
    if np.abs(distances - step * np.arange(len(points))).max() <= max(UNEVEN * step, _ROUNDING):
        return order, axis * step, None
    gaps = np.diff(distances)
    step = float(gaps.min())
    warnings.warn(
        f"{name}: slices are {gaps.min():.2f} to {gaps.max():.2f} mm apart; some may be missing, and a mask file with "
        f"even slices has one every {step:.2f} mm",
        InputWarning,
        stacklevel=2,
    )
    return order, axis * step, tuple(float(distance) for distance in distances)


def _row_direction(points: np.ndarray, normal: np.ndarray, pixel: float, name: str) -> np.ndarray:
    """Unit vector from slice to slice: the normal, or a sheared direction where the gantry was tilted."""
    last = points[-1]
    drift = float(np.linalg.norm(last - (last @ normal) * normal))
    axis = normal if drift <= _STRAIGHT * pixel else last / np.linalg.norm(last)
    aside = points - np.outer(points @ axis, axis)
    most = float(np.linalg.norm(aside, axis=1).max())
    if most > pixel / 2:
        warnings.warn(
            f"{name}: slices do not lie in one straight row; some are {most:.2f} mm aside, and their masks with them",
            InputWarning,
            stacklevel=2,
        )
    return axis
