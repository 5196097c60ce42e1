"""What a new DICOM object takes from the images it was made from, and nothing more.

Of the patient and the study only what DICOM requires in every object (types 1 and 2) is copied. highdicom would copy
every optional element too and name a patient in its warnings, so it is handed headers without them and the required
ones are set afterwards. A value that breaks the standard's rules is left empty, as type 2 allows.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pydicom.config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import validate_value

from medclipsam_monai.base.errors import InputError

_UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_IDENTITY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber",
)  # fmt: skip
_SEXES = ("M", "F", "O")
_PLACE = {  # functional group and keyword of what places a frame
    "PlanePositionSequence": "ImagePositionPatient",
    "PlaneOrientationSequence": "ImageOrientationPatient",
    "PixelMeasuresSequence": "PixelSpacing",
}
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_DIRECTIONS = (("L", "R"), ("P", "A"), ("H", "F"))  # of growing and of falling x, y and z
_UNICODE = "ISO_IR 192"
_UNREADABLE = "\ufffd"  # what pydicom puts for bytes that are not of the stated character set
_TOLERANCE = 1e-3  # direction cosines, and mm between pixels


class _Place(NamedTuple):
    """Where a frame lies, as stated; None for what is not."""

    position: Any
    orientation: Any
    spacing: Any


def check_sources(sources: Sequence[Dataset]) -> int:
    """Number of frames of single-frame images of one series, or of one multi-frame image.

    Raises:
        InputError: no image, several of which one has more than a frame, several series or sizes, missing identifiers.
    """
    if not sources:
        raise InputError("there is no source image to refer to")
    for source in sources:
        for keyword in (*_UIDS, "Rows", "Columns"):
            if not source.get(keyword):
                raise InputError(f"the source images state no {keyword}, which DICOM requires")
    if len({(source.SeriesInstanceUID, source.Rows, source.Columns) for source in sources}) > 1:
        raise InputError("the source images must be of one series and one size")
    counts = [int(source.get("NumberOfFrames") or 1) for source in sources]
    if len(counts) > 1 and max(counts) > 1:
        raise InputError("the source images must be single frames, or one multi-frame image")
    return sum(counts)


def frame_value(sources: Sequence[Dataset], frame: int, sequence: str, keyword: str) -> Any:
    """A value of one frame: of its image, or of a multi-frame image's functional groups (its own, else the shared).

    Args:
        sources: single-frame images, or one multi-frame image.
        frame: counted from 0, in the order of the sources.
        sequence: the functional group that holds the value.
        keyword: of the value.

    Returns:
        The value; None where it is not stated for that frame.
    """
    source, place = (sources[frame], 0) if len(sources) > 1 else (sources[0], frame)
    if not source.get("SharedFunctionalGroupsSequence"):
        return source.get(keyword) if int(source.get("NumberOfFrames") or 1) == 1 else None
    own = (source.get("PerFrameFunctionalGroupsSequence") or [])[place : place + 1]
    for groups in (*own, source.SharedFunctionalGroupsSequence[0]):
        if groups.get(sequence):
            return groups[sequence][0].get(keyword)
    return None


def plain_headers(sources: Sequence[Dataset]) -> list[Dataset]:
    """The sources' headers with what places and identifies the images, and nothing of the patient.

    Args:
        sources: single-frame images of one series, or one multi-frame image.

    Returns:
        As many headers. Those with positions share one orientation and state their frame of reference; in a
        multi-frame one every frame has its position, and orientation and spacing are shared. The others have none.

    Raises:
        InputError: identifiers or geometry are missing, or differ where they must not.
    """
    frames = check_sources(sources)
    headers = [_identified(source) for source in sources]
    places = [_Place(*(frame_value(sources, frame, *where) for where in _PLACE.items())) for frame in range(frames)]
    if frames == 1 and (None in places[0] or not sources[0].get("FrameOfReferenceUID")):
        _leave_unplaced(headers[0], sources[0])
    elif all(place.position is None for place in places):
        raise InputError(f"{frames} frames without positions (a cine): a DICOM SEG takes one such frame, not several")
    else:
        _set_places(headers, sources, places)
    return headers


def copy_identity(source: Dataset, target: Dataset) -> None:
    """Set what DICOM requires of patient and study, as the source states it, in UTF-8."""
    target.SpecificCharacterSet = _UNICODE
    values = {"StudyInstanceUID": source.StudyInstanceUID, **{name: _valid(source, name) for name in _IDENTITY}}
    for keyword, value in values.items():  # `_valid` has looked at them; pydicom's own look is set for a whole process
        target[keyword] = DataElement(keyword, dictionary_VR(keyword), value, validation_mode=pydicom.config.IGNORE)


def _valid(source: Dataset, keyword: str) -> str:
    value = source.get(keyword)
    text = "" if value is None or isinstance(value, MultiValue) else str(value)
    try:
        validate_value(dictionary_VR(keyword), text, pydicom.config.RAISE)
    except ValueError:
        return ""
    if any(mark == _UNREADABLE or unicodedata.category(mark) == "Cc" for mark in text):  # pydicom lets them pass
        return ""
    return "" if keyword == "PatientSex" and text not in _SEXES else text


def _identified(source: Dataset) -> Dataset:
    """A header with what identifies the image, and empty elements where highdicom wants to see the patient's."""
    header = Dataset()
    for keyword in (*_UIDS, "Rows", "Columns"):
        setattr(header, keyword, source.get(keyword))
    header.Modality = str(source.get("Modality") or "OT")
    header.NumberOfFrames = int(source.get("NumberOfFrames") or 1)
    for keyword in _IDENTITY:
        setattr(header, keyword, "")
    for keyword in LOSSY:
        if source.get(keyword):
            setattr(header, keyword, source.get(keyword))
    return header


def patient_orientation(sources: Sequence[Dataset], frame: int) -> list[str] | None:
    """Where rows and columns run (of L, R, P, A, H, F), by the direction cosines or as stated; None if unknown."""
    cosines = frame_value(sources, frame, "PlaneOrientationSequence", "ImageOrientationPatient")
    if cosines is None:
        stated = sources[frame if len(sources) > 1 else 0].get("PatientOrientation")
        return list(stated) if stated else None
    axes = np.array(cosines, float).reshape(2, 3)
    longest = np.abs(axes).argmax(axis=1)
    return [_DIRECTIONS[axis][int(row[axis] < 0)] for row, axis in zip(axes, longest, strict=True)]


def _set_places(headers: Sequence[Dataset], sources: Sequence[Dataset], places: Sequence[_Place]) -> None:
    """Check that the frames make one SEG, and state their places as single-frame and as multi-frame images do."""
    for keyword, values in zip(_PLACE.values(), zip(*places, strict=True), strict=True):
        if None in values:
            raise InputError(f"not all of the source images state {keyword}; take those without it out of the series")
        if keyword != "ImagePositionPatient" and np.ptp(np.array(values), axis=0).max() > _TOLERANCE:
            raise InputError(f"the source images differ in {keyword}; a segmentation has one for all its frames")
    references = {str(source.get("FrameOfReferenceUID") or "") for source in sources}
    if len(references) > 1 or "" in references:
        raise InputError("the source images state no common FrameOfReferenceUID, without which DICOM has no SEG")
    plane, shared = Dataset(), Dataset()
    plane.ImageOrientationPatient = list(places[0].orientation)
    measures = _measures(sources, places)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    groups = [_position_group(place) for place in places]
    frames_each = len(groups) // len(headers)
    for number, header in enumerate(headers):
        own = groups[number * frames_each : (number + 1) * frames_each]
        header.FrameOfReferenceUID = sources[0].FrameOfReferenceUID
        header.PositionReferenceIndicator = sources[0].get("PositionReferenceIndicator") or ""
        for element in (measures, plane, own[0].PlanePositionSequence[0]):
            header.update(element)
        header.SharedFunctionalGroupsSequence, header.PerFrameFunctionalGroupsSequence = [shared], own


def _measures(sources: Sequence[Dataset], places: Sequence[_Place]) -> Dataset:
    """Spacing of pixels and slices, also where slices are missing from an even row, which readers then fill.

    A slice of unstated thickness is as thick as its distance from the next one, and alone 1 mm, as `read_dicom` has it.
    """
    from highdicom.spatial import get_volume_positions

    thickness = float(frame_value(sources, 0, "PixelMeasuresSequence", "SliceThickness") or 0)
    spacing, _ = get_volume_positions(
        [place.position for place in places],
        places[0].orientation,
        allow_missing_positions=True,
        spacing_hint=thickness if len(places) == 1 and thickness > 0 else None,
    )
    if thickness <= 0 and spacing is None:
        raise InputError("the source images state no SliceThickness and lie unevenly or in one place; a SEG needs one")
    measures = Dataset()
    measures.PixelSpacing = list(places[0].spacing)
    measures.SliceThickness = f"{thickness if thickness > 0 else spacing:.10g}"
    if spacing is not None:
        measures.SpacingBetweenSlices = f"{spacing:.10g}"
    return measures


def _position_group(place: _Place) -> Dataset:
    position, group = Dataset(), Dataset()
    position.ImagePositionPatient = list(place.position)
    group.PlanePositionSequence = [position]
    return group


def _leave_unplaced(header: Dataset, source: Dataset) -> None:
    """A single frame on its own pixel grid; highdicom looks for the spacing in either place."""
    measures, shared = Dataset(), Dataset()
    if source.get("PixelSpacing"):
        header.PixelSpacing = measures.PixelSpacing = list(source.PixelSpacing)
    shared.PixelMeasuresSequence = [measures] if measures else []
    header.SharedFunctionalGroupsSequence = [shared]
