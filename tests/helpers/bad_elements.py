"""DICOM files of which one element breaks its rules and holds what may be a patient's name."""

from __future__ import annotations

import zlib
from pathlib import Path

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from medclipsam_monai.phantoms.dicom import write_phantom_volume, write_phantom_xray

SECRET = "doe"  # in any case of letters
NAME, WORD = "Doe^Jane", "DOE_JANE"
UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "SOPClassUID")
META = ("MediaStorageSOPInstanceUID", "MediaStorageSOPClassUID", "TransferSyntaxUID", "ImplementationVersionName")
NESTED = ("ReferencedImageSequence", "SourceImageSequence", "ReferencedPerformedProcedureStepSequence")
OTHERS = (
    "StudyDate", "PatientBirthDate", "ContentDate", "StudyTime", "ContentTime", "AcquisitionDateTime",
    "PatientAge", "PatientWeight", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient",
    "SliceThickness", "SpacingBetweenSlices", "WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept",
    "LossyImageCompressionRatio", "SeriesNumber", "InstanceNumber", "AcquisitionNumber", "NumberOfFrames",
    "Rows", "BitsStored", "PixelRepresentation", "FrameIncrementPointer", "RetrieveAETitle", "AccessionNumber",
)  # fmt: skip
WORDS = (
    "Modality", "PatientSex", "PhotometricInterpretation", "ImageType", "PatientOrientation", "BurnedInAnnotation",
    "LossyImageCompression", "LossyImageCompressionMethod", "Laterality", "BodyPartExamined", "VOILUTFunction",
    "SpecificCharacterSet", "PatientPosition", "SeriesNumber",
)  # fmt: skip
TOO_LONG = {"PatientName": f"{NAME}^^^^^^^={'x' * 80}", "PatientID": NAME * 12, "StudyID": NAME * 4}
CASES: dict[str, tuple[str, str]] = {
    **{f"{keyword}, a name": (keyword, NAME) for keyword in (*UIDS, *META, *NESTED, *OTHERS)},
    **{f"{keyword}, a number and a name": (keyword, f"1.2.840.{NAME}") for keyword in UIDS[:4]},
    **{f"{keyword}, a word": (keyword, WORD) for keyword in WORDS},
    **{f"{keyword}, too long": pair for keyword, pair in zip(TOO_LONG, TOO_LONG.items(), strict=True)},
}


def write_bad(case: str, folder: Path) -> Path:
    """A slice with a position, or for what an X-ray alone states an X-ray, with one bad element."""
    keyword, value = CASES[case]
    write = write_phantom_xray if keyword in ("PatientOrientation", "Laterality", "PixelSpacing") else _slice
    path = write(folder)
    path = path if isinstance(path, Path) else path.files[0]
    header = pydicom.dcmread(path)
    header.SeriesInstanceUID = f"2.25.{zlib.crc32(case.encode())}"
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"2.25.1{zlib.crc32(case.encode())}"
    if keyword.startswith("LossyImageCompression"):
        header.LossyImageCompression = "01"
    header.save_as(path)
    content = path.read_bytes()
    if keyword in META:
        old = str(header.file_meta[keyword].value)
        at = content.index(old.encode(), 132)
        length = len(old) + len(old) % 2
        path.write_bytes(content[:at] + value[:length].ljust(length, "\0").encode() + content[at + length :])
        return path
    if keyword in NESTED:
        item = Dataset()
        item[tag_for_keyword("ReferencedSOPClassUID")] = _raw("ReferencedSOPClassUID", value)
        item[tag_for_keyword("ReferencedSOPInstanceUID")] = _raw("ReferencedSOPInstanceUID", value)
        setattr(header, keyword, [item])
    else:
        header[tag_for_keyword(keyword)] = _raw(keyword, value)
    header.save_as(path)
    return path


def _slice(folder: Path) -> Path:
    return write_phantom_volume(folder, slices=1).files[0]


def _raw(keyword: str, value: str) -> RawDataElement:
    content = value.encode() + b" " * (len(value) % 2)
    tag = Tag(tag_for_keyword(keyword))
    kind = dictionary_VR(keyword)
    return RawDataElement(tag, kind[:2], len(content), content, 0, False, True)
