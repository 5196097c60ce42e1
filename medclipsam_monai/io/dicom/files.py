"""What the header of a DICOM file says that finding and grouping images need; each file is opened once."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    MediaStorageDirectoryStorage,
    MRImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameSingleBitSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
)

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.dicom.header import (
    check_whole,
    frame_count,
    frame_value,
    is_image,
    kind_of_object,
    looks_like_dicom,
    numbers,
    parse_header,
)
from medclipsam_monai.io.guard import one_line

_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "ImageType",
    "Modality",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "NumberOfFrames",
    "SamplesPerPixel",
    "Rows",
    "Columns",
    "BitsAllocated",
    "ImagePositionPatient",
    "ImageOrientationPatient",
)
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_CAPTURES = (
    SecondaryCaptureImageStorage,
    MultiFrameSingleBitSecondaryCaptureImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
)
_SECTIONS = (
    CTImageStorage,
    EnhancedCTImageStorage,
    MRImageStorage,
    EnhancedMRImageStorage,
    PositronEmissionTomographyImageStorage,
    EnhancedPETImageStorage,
)
_LOCALIZER_WORDS = ("LOCALIZER", "TOPOGRAM", "SCOUT")
_SCREEN_WORDS = ("SCREEN", "REPORT", "DOSE_INFO", "DOSE INFO")


class Use(IntEnum):
    """What a file is good for; of a study only the best kind is used."""

    IMAGE = 0
    LOCALIZER = 1
    SCREEN = 2


@dataclass(frozen=True)
class LeftOut:
    """A file that was found and is no image to segment.

    Attributes:
        path: the file.
        reason: what it is: "a Basic Text SR Storage, not an image".
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class DicomFile:
    """A file with an image, as far as grouping needs it."""

    path: Path
    study: str
    series: str
    instance: str
    number: str
    frames: int
    position: tuple[int, ...] | None  # thousandths of a millimetre
    shape: tuple[int, int]
    directions: tuple[float, ...]  # cosines of rows and columns; empty where unstated
    secondary: bool
    use: Use


class DicomFiles:
    """The files that one search has opened; none is opened again, by whatever name."""

    def __init__(self) -> None:
        self._known: dict[Path, DicomFile | LeftOut | InputError | None] = {}
        self._others: set[Path] = set()

    def has(self, path: Path) -> bool:
        """Whether a file without a known suffix is DICOM, by its content."""
        real = path.resolve()
        if real not in self._known and real not in self._others:
            self._open(path, real, check=True)
        return real in self._known

    def look(self, path: Path) -> DicomFile | LeftOut | None:
        """What a DICOM file is; None for the index of a disc.

        Raises:
            InputError: not DICOM, cut short within its header, or its header holds nonsense.
        """
        real = path.resolve()
        if real not in self._known:
            self._open(path, real, check=False)
        found = self._known[real]
        if isinstance(found, InputError):
            raise found
        return found if found is None else replace(found, path=path)

    def _open(self, path: Path, real: Path, check: bool) -> None:
        try:
            if check and not path.is_file():  # a pipe would wait for its writer
                self._others.add(real)
                return
            with one_line(path, "a DICOM file"), path.open("rb") as file:
                if check and not looks_like_dicom(file):
                    self._others.add(real)
                    return
                self._known[real] = _look_at(file, path)
        except InputError as error:
            self._known[real] = error


def _look_at(file: BinaryIO, path: Path) -> DicomFile | LeftOut | None:
    """Reads what grouping needs of an open file; None for the index of a disc.

    Raises:
        InputError: not DICOM, cut short within its header, or its header holds nonsense.
    """
    with one_line(path, "a DICOM file"):
        header = parse_header(file, path, _TAGS)
        if not is_image(header):
            return _no_image(path, header)
        frames = frame_count(header)
        if frames == 1 and not header.get("ImagePositionPatient") and "Enhanced" in kind_of_object(header):
            header = parse_header(file, path, (*_TAGS, *_GROUPS))
        position = numbers(frame_value(header, 0, "PlanePositionSequence", "ImagePositionPatient"), 3)
        directions = numbers(frame_value(header, 0, "PlaneOrientationSequence", "ImageOrientationPatient"), 6)
        number = "0"
        with contextlib.suppress(ValueError, TypeError):  # it only serves as a name
            number = str(int(header.get("SeriesNumber") or 0))
        return DicomFile(
            path,
            study=str(header.get("StudyInstanceUID", "")),
            series=str(header.get("SeriesInstanceUID", "")),
            instance=str(header.get("SOPInstanceUID", "")),
            number=number,
            frames=frames,
            position=tuple(round(1000 * place) for place in position) if position else None,
            shape=(int(header.Rows), int(header.get("Columns") or 0)),
            directions=tuple(directions or ()),
            secondary=_image_type(header)[:2] == ["DERIVED", "SECONDARY"],
            use=_use(header),
        )


def _no_image(path: Path, header: Dataset) -> LeftOut | None:
    meta = getattr(header, "file_meta", {})
    kind = UID(str(meta.get("MediaStorageSOPClassUID", "")))
    if kind == MediaStorageDirectoryStorage:
        return None
    check_whole(path, header)
    return LeftOut(path, f"a DICOM {kind_of_object(header)}, not an image")


def _image_type(header: Dataset) -> list[str]:
    value = header.get("ImageType") or []
    return [str(word).strip().upper() for word in ([value] if isinstance(value, str) else value)]


def _use(header: Dataset) -> Use:
    words = _image_type(header)
    if header.get("SOPClassUID") in _CAPTURES or any(mark in word for word in words for mark in _SCREEN_WORDS):
        return Use.SCREEN
    plain = int(header.get("BitsAllocated") or 0) == 8 or int(header.get("SamplesPerPixel") or 1) > 1
    if words[:2] == ["DERIVED", "SECONDARY"] and header.get("SOPClassUID") in _SECTIONS and plain:
        return Use.SCREEN  # sections have 16 bits and one colour
    if any(mark in word for word in words for mark in _LOCALIZER_WORDS):
        return Use.LOCALIZER
    return Use.IMAGE
