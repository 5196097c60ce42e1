"""What a new DICOM object takes from the images it was made from, and nothing more.

Of the patient and the study only what DICOM requires in every object (types 1 and 2) is copied. highdicom would copy
every optional element too and name a patient in its warnings, so it is handed headers without them and the required
ones are set afterwards. A value that breaks the standard's rules is left empty, as type 2 allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pydicom.config
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.valuerep import validate_value

from medclipsam_monai.errors import InputError

_UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_IDENTITY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber",
)  # fmt: skip
_SEXES = ("M", "F", "O")
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_UNICODE = "ISO_IR 192"
_TOLERANCE = 1e-3  # direction cosines, and mm between pixels


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
    if len(sources) > 1 or "SharedFunctionalGroupsSequence" not in sources[0]:
        source = sources[frame if len(sources) > 1 else 0]
        return source.get(keyword) if int(source.get("NumberOfFrames") or 1) == 1 else None
    own = (sources[0].get("PerFrameFunctionalGroupsSequence") or [])[frame : frame + 1]
    for groups in (*own, sources[0].SharedFunctionalGroupsSequence[0]):
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
    placed = [frame_value(sources, frame, "PlanePositionSequence", "ImagePositionPatient") for frame in range(frames)]
    if all(value is not None for value in placed):
        _place(headers, sources, placed)
    elif any(value is not None for value in placed):
        raise InputError("some of the source images state no ImagePositionPatient; take them out of the series")
    else:
        _leave_unplaced(headers, sources, frames)
    return headers


def copy_identity(source: Dataset, target: Dataset) -> None:
    """Set what DICOM requires of patient and study, as the source states it, in UTF-8."""
    target.SpecificCharacterSet = _UNICODE
    with pydicom.config.disable_value_validation():
        target.StudyInstanceUID = source.StudyInstanceUID
        for keyword in _IDENTITY:
            setattr(target, keyword, _valid(source, keyword))


def _valid(source: Dataset, keyword: str) -> str:
    value = source.get(keyword)
    text = "" if value is None else str(value)
    try:
        validate_value(dictionary_VR(keyword), text, pydicom.config.RAISE)
    except ValueError:
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


def _shared(sources: Sequence[Dataset], frames: int, sequence: str, keyword: str) -> list[Any]:
    """A value that all frames share, as the first states it."""
    values = [frame_value(sources, frame, sequence, keyword) for frame in range(frames)]
    if any(value is None for value in values):
        raise InputError(f"the source images state positions but no {keyword}; a segmentation cannot be placed")
    if np.ptp(np.array(values, float), axis=0).max() > _TOLERANCE:
        raise InputError(f"the source images differ in {keyword}; a segmentation needs one for all its frames")
    return list(values[0])


def _place(headers: Sequence[Dataset], sources: Sequence[Dataset], positions: Sequence[Any]) -> None:
    reference = sources[0].get("FrameOfReferenceUID")
    if not reference:
        raise InputError("the source images state positions but no FrameOfReferenceUID, without which DICOM has no SEG")
    orientation = _shared(sources, len(positions), "PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = _shared(sources, len(positions), "PixelMeasuresSequence", "PixelSpacing")
    thickness = frame_value(sources, 0, "PixelMeasuresSequence", "SliceThickness")
    for header in headers:
        header.FrameOfReferenceUID = reference
        header.PositionReferenceIndicator = sources[0].get("PositionReferenceIndicator") or ""
    measures, plane = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness, plane.ImageOrientationPatient = spacing, thickness, orientation
    if len(sources) == 1 and "SharedFunctionalGroupsSequence" in sources[0]:
        shared = Dataset()
        shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
        headers[0].SharedFunctionalGroupsSequence = [shared]
        headers[0].PerFrameFunctionalGroupsSequence = [_position_group(position) for position in positions]
        return
    for header, position in zip(headers, positions, strict=True):
        header.update(measures)
        header.update(plane)
        header.ImagePositionPatient = list(position)


def _position_group(position: Sequence[Any]) -> Dataset:
    place, groups = Dataset(), Dataset()
    place.ImagePositionPatient = list(position)
    groups.PlanePositionSequence = [place]
    return groups


def _leave_unplaced(headers: Sequence[Dataset], sources: Sequence[Dataset], frames: int) -> None:
    if frames > 1:
        raise InputError(
            f"{frames} frames without positions (a cine, or pictures): DICOM SEG takes one such frame at a time"
        )
    spacing = sources[0].get("PixelSpacing")
    measures = Dataset()
    if spacing:
        headers[0].PixelSpacing = measures.PixelSpacing = list(spacing)
    groups = Dataset()  # highdicom looks for it in every class of image that may have several frames
    groups.PixelMeasuresSequence = [measures] if spacing else []
    headers[0].SharedFunctionalGroupsSequence = [groups]
