"""Which DICOM files make one image, and which are no image to segment.

Slices with positions that share a SeriesInstanceUID are one image, in whatever folders they lie, as long as no two of
different folders lie in one place (then the folders are what keeps phases or echoes apart). Files without positions and
multi-frame ones are images by themselves.

Of a study only its images are used: where there are any, localizers and screens (secondary captures, dose reports,
pages of a summary) are left out. A series whose slices lie in several planes, most of them in no one, is a localizer,
whether it says so or not. A study of nothing but secondary captures, such as converted pictures, is used.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

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
    numbers,
    read_header,
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
_SAME_ANGLE = 0.05  # direction cosines: three degrees
_LOCALIZER_WORDS = ("LOCALIZER", "TOPOGRAM", "SCOUT")
_SCREEN_WORDS = ("SCREEN", "REPORT", "DOSE_INFO", "DOSE INFO")


class Use(IntEnum):
    """What a file is good for; of a study only the best kind is used."""

    IMAGE = 0
    LOCALIZER = 1
    SCREEN = 2


_REASONS = {
    Use.LOCALIZER: "a localizer of a study that has other images",
    Use.SCREEN: "a secondary capture or report screen of a study that has images",
}


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
class DicomGroup:
    """The files of one image.

    Attributes:
        paths: in the order of their names.
        number: SeriesNumber, for a name.
    """

    paths: tuple[Path, ...]
    number: str = "0"

    @property
    def folder(self) -> Path:
        """The folder that holds all of its files, at whatever depth."""
        return common_folder(self.paths)


@dataclass(frozen=True)
class _File:
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


def common_folder(paths: Sequence[Path]) -> Path:
    """The deepest folder that holds all files."""
    parents = {path.parent for path in paths}
    return parents.pop() if len(parents) == 1 else Path(os.path.commonpath(parents))


def group_files(paths: Iterable[Path], *, leave_out: bool) -> tuple[list[DicomGroup], list[LeftOut]]:
    """Finds the images that DICOM files make.

    Args:
        paths: the files, in the order of their names.
        leave_out: whether to leave out what is no image to segment; files that a user names are all meant.

    Returns:
        The images, and what was left out. A file that cannot be read is an image by itself: reading it tells why.
    """
    files: list[_File] = []
    alone: list[Path] = []
    left_out: list[LeftOut] = []
    for path in paths:
        try:
            looked = _look_at(path)
        except InputError:
            alone.append(path)
            continue
        if isinstance(looked, _File):
            files.append(looked)
        elif leave_out and looked is not None:
            left_out.append(looked)
        elif not leave_out:
            alone.append(path)
    if leave_out:
        files, screens = _images_of_studies(files)
        left_out += screens
    groups = [DicomGroup((path,)) for path in alone]
    by_series: dict[tuple[str, str], list[_File]] = defaultdict(list)
    for file in files:
        if file.frames > 1:
            groups.append(DicomGroup((file.path,), file.number))
        else:
            by_series[file.study, file.series].append(file)
    for members in by_series.values():
        for part in _parts(members):
            if len(part) > 1 and any(file.position for file in part):
                groups.append(DicomGroup(tuple(file.path for file in part), part[0].number))
            else:
                groups += [DicomGroup((file.path,), file.number) for file in part]
    return groups, sorted(left_out, key=lambda one: one.path)


def _look_at(path: Path) -> _File | LeftOut | None:
    """Reads what grouping needs; None for the index of a disc.

    Raises:
        InputError: not DICOM, cut short within its header, or its header holds nonsense.
    """
    with one_line(path, "a DICOM file"):
        header = read_header(path, _TAGS)
        if not is_image(header):
            return _no_image(path, header)
        frames = frame_count(header)
        if frames == 1 and not header.get("ImagePositionPatient") and "Enhanced" in kind_of_object(header):
            header = read_header(path, (*_TAGS, *_GROUPS))
        position = numbers(frame_value(header, 0, "PlanePositionSequence", "ImagePositionPatient"), 3)
        directions = numbers(frame_value(header, 0, "PlaneOrientationSequence", "ImageOrientationPatient"), 6)
        number = "0"
        with contextlib.suppress(ValueError, TypeError):  # it only serves as a name
            number = str(int(header.get("SeriesNumber") or 0))
        return _File(
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


def _images_of_studies(files: Sequence[_File]) -> tuple[list[_File], list[LeftOut]]:
    """The files of the best use in each study, and the others."""
    by_series: dict[tuple[str, str], list[_File]] = defaultdict(list)
    for file in files:
        by_series[file.study, file.series].append(file)
    uses: dict[_File, Use] = {}
    for members in by_series.values():
        sizes = {file.shape for file in members}
        for file in members:  # secondary images of several sizes in one series are pages, not slices
            uses[file] = Use.SCREEN if file.secondary and len(sizes) > 1 else file.use
        images = [file for file in members if uses[file] == Use.IMAGE]
        if _without_main_angle(images):
            uses.update(dict.fromkeys(images, Use.LOCALIZER))
    best: dict[str, Use] = {}
    for file, use in uses.items():
        best[file.study] = min(use, best.get(file.study, use))
    kept = [file for file, use in uses.items() if use == best[file.study]]
    left_out = [LeftOut(file.path, _REASONS[use]) for file, use in uses.items() if use != best[file.study]]
    return kept, left_out


def _alike(one: _File, other: _File) -> bool:
    """Whether two slices lie at one angle."""
    if len(one.directions) != len(other.directions):
        return False
    return all(abs(a - b) < _SAME_ANGLE for a, b in zip(one.directions, other.directions, strict=True))


def _without_main_angle(members: Sequence[_File]) -> bool:
    """Whether a series is a localizer in several planes: most of its slices lie in no one way."""
    placed = [file for file in members if file.frames == 1 and file.position and file.directions]
    return bool(placed) and all(2 * sum(_alike(one, other) for other in placed) <= len(placed) for one in placed)


def _parts(members: Sequence[_File]) -> list[list[_File]]:
    """A series as one, or a part for each folder where parts of different folders cannot be one volume."""
    folders: dict[Path, list[_File]] = defaultdict(list)
    for file in members:
        folders[file.path.parent].append(file)
    if len(folders) == 1:
        return [list(members)]
    at: dict[tuple[int, ...], _File] = {}
    for part in folders.values():
        for file in part:
            other = at.setdefault(file.position or (), file)
            apart = file.path.parent != other.path.parent and file.position is not None
            if apart and (not file.instance or file.instance != other.instance):
                return list(folders.values())
    if any(file.shape != members[0].shape or not _alike(file, members[0]) for file in members):
        return list(folders.values())
    return [list(members)]
