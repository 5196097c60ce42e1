"""What a new DICOM object takes from the images it was made from, and nothing more.

Of the patient and the study only what DICOM requires in every object (types 1 and 2) is copied. highdicom would copy
every optional element too and name a patient in its warnings, so it is handed headers without them and the required
ones are set afterwards. A value that breaks the standard's rules is left empty, as type 2 allows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import pydicom.config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import MultiFrameGrayscaleWordSecondaryCaptureImageStorage, SecondaryCaptureImageStorage
from pydicom.valuerep import format_number_as_ds, validate_value

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.dicom.header import first_number, frame_count, readable
from medclipsam_monai.io.dicom_seg.identifiers import valid_uid
from medclipsam_monai.io.dicom_seg.source_places import Where, frame_slices, set_places

_SINGLE_FRAME, _MULTI_FRAME = SecondaryCaptureImageStorage, MultiFrameGrayscaleWordSecondaryCaptureImageStorage
_UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_IDENTITY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber",
)  # fmt: skip
_SEXES = ("M", "F", "O")
_MOST_CARETS = 4  # between the five parts of a name
_METHOD = re.compile(r"(ISO|IEEE|SMPTE)[0-9_]{1,13}")
_DIRECTIONS = (("L", "R"), ("P", "A"), ("H", "F"))  # of growing and of falling x, y and z
_TOWARDS = re.compile(r"[LRPAHF]{1,3}")
_UNICODE = "ISO_IR 192"
_UNREADABLE = "\ufffd"  # what pydicom puts for bytes that are not of the stated character set


def check_sources(sources: Sequence[Dataset]) -> int:
    """Number of frames of single-frame images of one series, or of one multi-frame image.

    Raises:
        InputError: no image, several of which one has more than a frame, several series or sizes, identifiers that are
            missing or none.
    """
    if not sources:
        raise InputError("there is no source image to refer to")
    for source in sources:
        for keyword in (*_UIDS, "Rows", "Columns"):
            if not source.get(keyword):
                raise InputError(f"the source images state no {keyword}, which DICOM requires")
            if keyword in _UIDS and not valid_uid(source.get(keyword)):
                raise InputError(
                    f"the {keyword} of the source images must be a valid UID of digits and dots, for a DICOM object "
                    "refers to them by it; mend it in the archive"
                )
    if len({(source.SeriesInstanceUID, source.Rows, source.Columns) for source in sources}) > 1:
        raise InputError("the source images must be of one series and one size")
    counts = [frame_count(source) for source in sources]
    if len(counts) > 1 and max(counts) > 1:
        raise InputError("the source images must be single frames, or one multi-frame image")
    return sum(counts)


def plain_headers(sources: Sequence[Dataset]) -> tuple[list[Dataset], Where]:
    """The sources' headers with what places and identifies the images, and nothing of the patient.

    Args:
        sources: single-frame images of one series, or one multi-frame image.

    Returns:
        As many headers, and how their frames are placed, see `set_places`.

    Raises:
        InputError: identifiers or geometry are missing, or differ where they must not.
    """
    check_sources(sources)
    multi_frame = len(sources) == 1 and "NumberOfFrames" in sources[0]
    headers = [_identified(source, _MULTI_FRAME if multi_frame else _SINGLE_FRAME) for source in sources]
    return headers, set_places(headers, sources)


def copy_identity(source: Dataset, target: Dataset) -> None:
    """Set what DICOM requires of patient and study, as the source states it, in UTF-8."""
    target.SpecificCharacterSet = _UNICODE
    values = {
        "StudyInstanceUID": valid_uid(source.StudyInstanceUID),
        **{name: _valid(source, name) for name in _IDENTITY},
    }
    for keyword, value in values.items():  # `_valid` has looked at them; pydicom's own look is set for a whole process
        target[keyword] = DataElement(keyword, dictionary_VR(keyword), value, validation_mode=pydicom.config.IGNORE)


def _valid(source: Dataset, keyword: str) -> str:
    value = readable(source, keyword)
    text = "" if value is None or isinstance(value, MultiValue) else str(value)
    try:
        validate_value(dictionary_VR(keyword), text, pydicom.config.RAISE)
    except ValueError:
        return ""
    if any(mark == _UNREADABLE or unicodedata.category(mark) == "Cc" for mark in text):  # pydicom lets them pass
        return ""
    if dictionary_VR(keyword) == "PN" and any(group.count("^") > _MOST_CARETS for group in text.split("=")):
        return ""  # pydicom lets these pass, too
    return "" if keyword == "PatientSex" and text not in _SEXES else text


def name_classes(target: Dataset, sources: Sequence[Dataset]) -> None:
    """Set what kinds of images an object refers to, for the headers of `plain_headers` do not say."""
    kinds = {valid_uid(source.SOPInstanceUID): valid_uid(source.SOPClassUID) for source in sources}

    def set_class(item: Dataset, element: DataElement) -> None:
        if element.keyword == "ReferencedSOPInstanceUID":
            item.ReferencedSOPClassUID = kinds[element.value]

    target.walk(set_class)


def _identified(source: Dataset, kind: str) -> Dataset:
    """A header with what identifies the image, and empty elements where highdicom wants to see the patient's.

    highdicom judges by the kind of object whether an image may have several frames and must have a frame of reference,
    and knows no retired and private kinds; so it is told one of two, by what the image is.
    """
    header = Dataset()
    for keyword in _UIDS:
        setattr(header, keyword, valid_uid(source.get(keyword)))
    header.SOPClassUID = kind
    header.Rows, header.Columns = source.Rows, source.Columns
    header.Modality = "OT"  # highdicom wants one, and copies it nowhere
    header.NumberOfFrames = frame_count(source)
    for keyword in _IDENTITY:
        setattr(header, keyword, "")
    copy_compression(source, header)
    return header


def copy_compression(source: Dataset, target: Dataset) -> None:
    """Say of an object made from a lossy image that it is one."""
    if readable(source, "LossyImageCompression") != "01":
        return
    target.LossyImageCompression = "01"
    ratio = first_number(readable(source, "LossyImageCompressionRatio"))
    if ratio is not None and ratio > 0:
        target.LossyImageCompressionRatio = format_number_as_ds(ratio)
    method = readable(source, "LossyImageCompressionMethod")
    if isinstance(method, str) and _METHOD.fullmatch(method):
        target.LossyImageCompressionMethod = method


def patient_orientation(sources: Sequence[Dataset], frame: int) -> list[str] | None:
    """Where rows and columns run (of L, R, P, A, H, F), by the direction cosines or as stated; None if unknown."""
    directions = frame_slices(sources)[frame].directions
    if directions is None:
        stated = readable(sources[frame if len(sources) > 1 else 0], "PatientOrientation")
        words = list(stated) if isinstance(stated, MultiValue) else []
        return words if len(words) == 2 and all(map(_TOWARDS.fullmatch, words)) else None
    axes = directions.reshape(2, 3)
    longest = np.abs(axes).argmax(axis=1)
    return [_DIRECTIONS[axis][int(row[axis] < 0)] for row, axis in zip(axes, longest, strict=True)]
