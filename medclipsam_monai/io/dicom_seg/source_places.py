"""Where the frames of a SEG lie: in the patient, as far as their images say so, else on the pixels of an image alone.

Readers know planes only as a whole: orientation, position, pixel size and thickness within a frame of reference. So a
frame whose image states only some of them gets the others here in a way that places nothing in the patient, or gets
none at all. What belongs to it is said by its references to the source images alone, whatever is stated here.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.dicom.geometry import POSITION_TOLERANCE, UNEVEN, Slice
from medclipsam_monai.io.dicom.header import first_number, frame_count, frame_value
from medclipsam_monai.io.dicom_seg.identifiers import valid_uid

_TOLERANCE = 1e-3  # direction cosines, and mm between pixels
_EXACT = 5e-5  # of the products of direction cosines; validators of DICOM allow 1e-4
_AS_SHOWN = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])  # what readers assume of an image that states no directions
_ORIGIN = np.zeros(3)


class Where(Enum):
    """How the frames are placed; the value is what the object says of it, nothing where all is as usual."""

    PATIENT = ""
    OWN_REFERENCE = (
        "The source images state no frame of reference, so this object has one of its own: it lies on its source "
        "images, and on no others."
    )
    PIXEL_GRID = (
        "The source image states a pixel size and no place in the patient. The frame lies at the origin of a frame of "
        "reference of this object alone, which says nothing of the patient: show it on the image that it refers to."
    )
    PIXELS = "The source image states no pixel size and no place in the patient: show this on the image it refers to."


class _Place(NamedTuple):
    """Where a frame lies in mm, as stated; None for what is not."""

    position: np.ndarray | None
    directions: np.ndarray | None
    spacing: np.ndarray | None


def frame_slices(sources: Sequence[Dataset]) -> list[Slice]:
    """All frames of single-frame images, or of one multi-frame image, in their order."""
    return [Slice(source, frame) for source in sources for frame in range(frame_count(source))]


def set_places(headers: Sequence[Dataset], sources: Sequence[Dataset]) -> Where:
    """State in headers where the sources' frames lie, in the form of single-frame and of multi-frame images alike.

    Args:
        headers: one for each source, without geometry.
        sources: single-frame images of one series, or one multi-frame image.

    Returns:
        How they were placed.

    Raises:
        InputError: several frames of which some or all state no position, or that differ in what a SEG has once.
    """
    slices = frame_slices(sources)
    places = [_Place(one.position, one.directions, one.spacing) for one in slices]
    complete = all(value is not None for place in places for value in place)
    reference = _common_reference(sources)
    if len(places) > 1 and all(place.position is None for place in places):
        raise InputError(
            f"{len(places)} frames without positions (a cine): a DICOM SEG takes one such frame, not several"
        )
    if complete or len(places) > 1:
        _check_alike(places)
        _set_planes(headers, places, _thickness(slices[0]), reference or _new_uid())
        return Where.PATIENT if reference else Where.OWN_REFERENCE
    if places[0].spacing is None:
        _leave_unplaced(headers[0], reference or _new_uid())
        return Where.PIXELS
    directions = _AS_SHOWN if places[0].directions is None else places[0].directions
    _set_planes(headers, [_Place(_ORIGIN, directions, places[0].spacing)], 0.0, _new_uid())
    return Where.PIXEL_GRID


def drop_unplaced(segmentation: Dataset, sources: Sequence[Dataset]) -> None:
    """Take out of a SEG of `Where.PIXELS` what highdicom was given and the source does not state."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    if "PixelMeasuresSequence" in shared:
        del shared.PixelMeasuresSequence
    if not _common_reference(sources):
        del segmentation.FrameOfReferenceUID, segmentation.PositionReferenceIndicator


def _common_reference(sources: Sequence[Dataset]) -> str:
    """The frame of reference; empty where it is missing or no valid UID."""
    references = {valid_uid(source.get("FrameOfReferenceUID")) for source in sources}
    if len(references) > 1:
        raise InputError("the source images state no common FrameOfReferenceUID; a SEG lies in one")
    return references.pop()


def _new_uid() -> str:
    from highdicom import UID

    return str(UID())


def _check_alike(places: Sequence[_Place]) -> None:
    names = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    for keyword, values in zip(names, zip(*places, strict=True), strict=True):
        if any(value is None for value in values):
            raise InputError(f"not all of the source images state {keyword}; take those without it out of the series")
        if keyword != "ImagePositionPatient" and np.ptp(np.array(values), axis=0).max() > _TOLERANCE:
            raise InputError(f"the source images differ in {keyword}; a segmentation has one for all its frames")


def _thickness(one: Slice) -> float:
    """SliceThickness in mm, 0 where it is unstated."""
    return abs(first_number(frame_value(one.header, one.frame, "PixelMeasuresSequence", "SliceThickness")) or 0.0)


def _set_planes(headers: Sequence[Dataset], places: Sequence[_Place], thickness: float, reference: str) -> None:
    plane, shared = Dataset(), Dataset()
    directions = _right_angled(places[0].directions)
    places = [place._replace(directions=directions) for place in places]
    plane.ImageOrientationPatient = _numbers(directions)
    measures = _measures(places, thickness)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    groups = [_position_group(place) for place in places]
    frames_each = len(groups) // len(headers)
    for number, header in enumerate(headers):
        own = groups[number * frames_each : (number + 1) * frames_each]
        header.FrameOfReferenceUID, header.PositionReferenceIndicator = reference, ""
        for element in (measures, plane, own[0].PlanePositionSequence[0]):
            header.update(element)
        header.SharedFunctionalGroupsSequence, header.PerFrameFunctionalGroupsSequence = [shared], own


def _right_angled(directions: np.ndarray | None) -> np.ndarray:
    """Two unit vectors at a right angle, as an object must state them; rounded ones are made so, as `read_dicom` does.

    What is exact enough stays as it is stated.
    """
    rows, columns = np.array(directions, float).reshape(2, 3)
    if max(abs(rows @ rows - 1), abs(columns @ columns - 1), abs(rows @ columns)) <= _EXACT:
        return np.concatenate([rows, columns])
    rows = rows / np.linalg.norm(rows)
    columns = columns - (columns @ rows) * rows
    return np.concatenate([rows, columns / np.linalg.norm(columns)])


def _measures(places: Sequence[_Place], thickness: float) -> Dataset:
    """Spacing of pixels and slices, also where slices are missing from an even row, which readers then fill.

    A slice of unstated thickness is as thick as its distance from the next one, and alone 1 mm, as `read_dicom` has it.
    The distance is stated also of slices that no upright even grid holds (a tilted gantry, uneven distances): readers
    that make such a grid all the same would space them by their thickness, and lose some where that is larger.
    """
    from highdicom.spatial import get_volume_positions

    spacing, _ = get_volume_positions(
        np.array([place.position for place in places]).tolist(),
        np.array(places[0].directions).tolist(),
        allow_missing_positions=True,
        spacing_hint=thickness if len(places) == 1 and thickness > 0 else None,
    )
    if spacing is None:
        spacing = _usual_gap(places)
    if thickness <= 0 and spacing is None:
        raise InputError("the source images state no SliceThickness and lie in one place; a SEG needs one")
    measures = Dataset()
    measures.PixelSpacing = _numbers(places[0].spacing)
    measures.SliceThickness = f"{thickness if thickness > 0 else spacing:.10g}"
    if spacing is not None:
        measures.SpacingBetweenSlices = f"{spacing:.10g}"
    return measures


def _usual_gap(places: Sequence[_Place]) -> float | None:
    """Millimetres along the normal from slice to slice, of uneven ones the smallest; None where they lie in one place.

    What counts as even is what `place_slices` takes for it.
    """
    directions = np.array(places[0].directions)
    distances = np.array([place.position for place in places]) @ np.cross(directions[:3], directions[3:])
    distances = np.sort(distances) - distances.min()
    gaps = np.diff(distances)
    if len(gaps) == 0 or gaps.min() < POSITION_TOLERANCE:
        return None
    mean = float(gaps.mean())
    is_even = np.abs(distances - mean * np.arange(len(distances))).max() <= UNEVEN * mean
    return mean if is_even else float(gaps.min())


def _position_group(place: _Place) -> Dataset:
    position, group = Dataset(), Dataset()
    position.ImagePositionPatient = _numbers(place.position)
    group.PlanePositionSequence = [position]
    return group


def _numbers(values: Any) -> list[str]:
    """Numbers as DICOM writes them, in at most 16 characters."""
    return [format_number_as_ds(float(value)) for value in values]


def _leave_unplaced(header: Dataset, reference: str) -> None:
    """A single frame on its own pixels: highdicom wants measures and a reference all the same, see `drop_unplaced`."""
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [1, 1], 1
    shared.PixelMeasuresSequence = [measures]
    header.FrameOfReferenceUID, header.PositionReferenceIndicator = reference, ""
    header.SharedFunctionalGroupsSequence = [shared]
