"""The image series of a folder of DICOM files, whatever folders and names the files have.

Names of series, in logs and of outputs alike, are made of modality, series number and a hash: folders and files of an
archive are often called after the patient.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID, SecondaryCaptureImageStorage

from medclipsam_monai.deploy.seg_writer import MANUFACTURER
from medclipsam_monai.errors import InputError
from medclipsam_monai.io import ImageSource, find_inputs
from medclipsam_monai.io.dicom_header import read_header
from medclipsam_monai.io.guard import only_our_warnings

_SAMPLE = 4096  # bytes that name a damaged file
_PLACE_TAGS = ("SOPInstanceUID", "ImagePositionPatient", "NumberOfFrames")


@dataclass(frozen=True)
class Series:
    """One image to segment: the slices of a series, or a file that stands alone.

    Attributes:
        source: its files; the stem is the series' name.
        header: of its first file, without pixels; empty where that cannot be read.
        problem: why it cannot be used, None so far.
    """

    source: ImageSource
    header: Dataset
    problem: str | None = None

    @property
    def name(self) -> str:
        """What the series is called in logs, reports and outputs."""
        return self.source.stem


def find_series(folder: str | Path) -> list[Series]:
    """The image series below a folder; what is no image (reports, segmentations) or this application's is left out.

    Files of one series are one volume even where an archive has spread them over several folders; a second copy of the
    same instance is left out. Damaged files are series by themselves, with the reason.

    Raises:
        InputError: no folder, or no DICOM image in it.
    """
    if not Path(folder).is_dir():
        raise InputError("the input is not a folder; give one that holds DICOM files")
    files = _files_below(Path(folder))
    try:
        sources = [source for source in find_inputs([folder]) if source.kind == "dicom"]
    except InputError:
        sources = []  # no image of any kind
    with only_our_warnings():
        found = [series for source in sources if not _is_own_picture(series := _look_at(source))]
        found += _cut_in_the_header(files - {path for source in sources for path in source.paths})
    if not found:
        raise InputError("the input folder holds no DICOM image, only files of other kinds")
    return _with_unique_names(_joined(found))


def without_paths(message: str, series: Series) -> str:
    """A reader's message with the series' name and "file 3 of 20" (by name) in place of folders and file names."""
    files = series.source.paths
    message = message.replace(series.source.label, series.name)
    for number, path in enumerate(files, start=1):
        message = message.replace(str(path), f"file {number} of {len(files)}" if len(files) > 1 else series.name)
    return " ".join(message.removeprefix(f"{series.name}: ").split())


def _files_below(folder: Path) -> set[Path]:
    def refuse(error: OSError) -> None:
        raise InputError(f"a folder of the input cannot be searched: {error.strerror}")

    return {Path(root, name) for root, _, names in os.walk(folder, onerror=refuse) for name in names}


def _unreadable(source: ImageSource, problem: str) -> Series:
    """A damaged file as a series, with a name by its first bytes."""
    content = b""
    with contextlib.suppress(OSError), source.paths[0].open("rb") as file:
        content = file.read(_SAMPLE)
    return Series(_named(source, "unreadable", content), Dataset(), problem)


def _look_at(source: ImageSource) -> Series:
    try:
        header = read_header(source.paths[0])
    except InputError as error:
        return _unreadable(source, without_paths(str(error), Series(source, Dataset())))
    return Series(source, header)


def _cut_in_the_header(files: Collection[Path]) -> list[Series]:
    """Files of an image class that end before they say how large the image is: the reader takes them for no image."""
    found = []
    for path in sorted(files):
        try:
            header = read_header(path)
        except InputError:
            continue  # no DICOM file
        kind = UID(str(header.file_meta.get("MediaStorageSOPClassUID", ""))).name
        if "Rows" not in header and "Image Storage" in kind:
            source = ImageSource((path,), "dicom", path.name)
            found.append(_unreadable(source, "is cut short: it ends within its header"))
    return found


def _is_own_picture(series: Series) -> bool:
    """Whether it is an overlay that this application wrote, come back with the study."""
    header = series.header
    return header.get("SOPClassUID") == SecondaryCaptureImageStorage and header.get("Manufacturer") == MANUFACTURER


def _stands_alone(series: Series) -> bool:
    """Whether a file is an image by itself: of several frames, or without a position."""
    header = series.header
    return len(series.source.paths) == 1 and (
        int(header.get("NumberOfFrames") or 1) > 1 or not header.get("ImagePositionPatient")
    )


def _joined(found: Sequence[Series]) -> list[Series]:
    """Parts of one series in several folders become one; each gets its name."""
    parts: dict[str, list[Series]] = {}
    result = [series for series in found if series.problem]
    for series in found:
        if series.problem:
            continue
        uid = str(series.header.get("SeriesInstanceUID", ""))
        key = uid + str(series.header.get("SOPInstanceUID", "")) if _stands_alone(series) else uid
        parts.setdefault(key, []).append(series)
    for key, members in parts.items():
        first, paths = members[0], members[0].source.paths
        if len(members) > 1:
            paths = _one_of_each(tuple(path for member in members for path in member.source.paths))
        source = _named(replace(first.source, paths=paths), _kind(first.header), key.encode())
        result.append(replace(first, source=source))
    return sorted(result, key=lambda series: series.source.paths[0])


def _one_of_each(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """The files without second copies of an instance."""
    by_uid = {str(read_header(path, _PLACE_TAGS).get("SOPInstanceUID", path)): path for path in reversed(paths)}
    kept = set(by_uid.values())
    return tuple(path for path in paths if path in kept)


def _kind(header: Dataset) -> str:
    """Modality and series number, as far as they are there and short: "ct_3"."""
    words = (str(header.get(name) or "") for name in ("Modality", "SeriesNumber"))
    return "_".join(word.lower() for word in words if re.fullmatch(r"[A-Za-z0-9]{1,16}", word)) or "image"


def _named(source: ImageSource, kind: str, content: bytes) -> ImageSource:
    return replace(source, stem=f"{kind}_{hashlib.sha256(content).hexdigest()[:8]}")


def _with_unique_names(found: Sequence[Series]) -> list[Series]:
    """Two damaged files may begin alike."""
    seen: dict[str, int] = {}
    result = []
    for series in found:
        count = seen[series.name] = seen.get(series.name, 0) + 1
        source = series.source if count == 1 else replace(series.source, stem=f"{series.name}_{count}")
        result.append(replace(series, source=source))
    return result
