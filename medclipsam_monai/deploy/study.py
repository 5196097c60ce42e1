"""The image series of a folder of DICOM files, whatever folders and names the files have, and what else is DICOM there.

Names of series, in logs and of outputs alike, are made of modality, series number and a hash: folders and files of an
archive are often called after the patient.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage, SegmentationStorage

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import ImageSource, LeftOut, search_inputs
from medclipsam_monai.io.dicom.header import check_whole, frame_count, read_header, readable
from medclipsam_monai.io.dicom_seg.algorithm import MANUFACTURER
from medclipsam_monai.io.guard import one_line, only_our_warnings
from medclipsam_monai.io.inputs.passed_by import passed_by

_SAMPLE = 4096  # bytes that name a damaged file
_MOST_IS = 2**31  # of an integer string
_MODALITIES = frozenset(  # PS3.3 C.7.3.1.1.1, the images among them, with retired ones, and what comes with images
    "AR BDUS BI BMD CD CF CFM CP CR CS CT DD DF DG DM DMS DS DX EC ECG EM EOG EPS ES FA FS FUNDUS GM HC HD HISTOPATH "
    "IO IVOCT IVUS KER LEN LP LS MA MG MR MS NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS OT POS PT PX RF RG RTDOSE "
    "RTIMAGE SM SR SRF ST STAIN TG US VA VF XA XAPROTOCOL XC "
    "AU DOC FID KO M3D PR REG RTPLAN RTRECORD RTSTRUCT RWV SEG".split()
)
_NAMING = (  # what names and tells apart what is left out
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "Manufacturer",
    "SeriesInstanceUID",
    "SeriesNumber",
    "NumberOfFrames",
    "ImagePositionPatient",
    "Rows",
    "Columns",
)
_LEFT_OUT = re.compile(r"left out: .*")  # and then the names of the copies


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


@dataclass(frozen=True)
class LeftOutSeries:
    """What is left out of a series before any rule is asked, for one reason.

    Attributes:
        name: that of the series, which may have other files that are segmented; of one image that stands alone its own.
        files: how many.
        reason: what they are.
    """

    name: str
    files: int
    reason: str


@dataclass(frozen=True)
class Study:
    """What a folder holds.

    Attributes:
        series: the images to segment, in the order of their files; none if there is no such image.
        left_out: all else that is DICOM, but the index of a disc and what this package has written.
    """

    series: tuple[Series, ...]
    left_out: tuple[LeftOutSeries, ...]


def search_study(folder: str | Path) -> Study:
    """The image series below a folder, and what is DICOM and no image to segment.

    Files of one series are one volume even where an archive has spread them over several folders. Of files that stand
    alone second copies are left out here, of slices by the reader. Damaged files are series by themselves, with the
    reason.

    Raises:
        InputError: no folder, or a part of it cannot be searched.
    """
    if not Path(folder).is_dir():
        raise InputError("the input is not a folder; give one that holds DICOM files")
    _check_searchable(Path(folder))
    found = search_inputs([folder])
    with only_our_warnings():
        images = [series for one in found.sources if one.kind == "dicom" and not _is_own(series := _look_at(one))]
        named, copies = _named_once(images)
        others = _by_series([*found.left_out, *passed_by(Path(folder), found)])
        left_out = sorted([*copies, *others], key=lambda one: (one.name, one.reason))
        return Study(tuple(_with_unique_names(named)), tuple(left_out))


def without_paths(message: str, series: Series) -> str:
    """A reader's message with the series' name and "file 3 of 20" (by name) in place of folders and file names."""
    files = series.source.paths
    message = message.replace(series.source.label, series.name)
    for number, path in enumerate(files, start=1):
        message = message.replace(str(path), f"file {number} of {len(files)}" if len(files) > 1 else series.name)
    message = _LEFT_OUT.sub("left out", message)
    return " ".join(message.removeprefix(f"{series.name}: ").split())


def _check_searchable(folder: Path) -> None:
    """Refuses a folder with parts that cannot be listed, without naming them."""

    def refuse(error: OSError) -> None:
        raise InputError(f"a folder of the input cannot be searched: {error.strerror}")

    for _ in os.walk(folder, onerror=refuse):
        pass


def _unreadable(source: ImageSource, problem: str) -> Series:
    """A damaged file as a series, with a name by its first bytes."""
    content = b""
    with contextlib.suppress(OSError), source.paths[0].open("rb") as file:
        content = file.read(_SAMPLE)
    return Series(_named(source, "unreadable", content), Dataset(), problem)


def _look_at(source: ImageSource, tags: Sequence[str] | None = None) -> Series:
    try:
        header = read_header(source.paths[0], tags)
        check_whole(source.paths[0], header)
        with one_line(source.paths[0], "a DICOM file"):
            frame_count(header), header.get("ImagePositionPatient")  # what follows asks for these
            int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    except InputError as error:
        return _unreadable(source, without_paths(str(error), Series(source, Dataset())))
    return Series(source, header)


def _is_own(series: Series) -> bool:
    """Whether it is an overlay or a segmentation that this package wrote, come back with the study."""
    kinds = (SecondaryCaptureImageStorage, SegmentationStorage)
    return series.header.get("SOPClassUID") in kinds and readable(series.header, "Manufacturer") == MANUFACTURER


def _stands_alone(series: Series) -> bool:
    """Whether a file is an image by itself: of several frames, or without a position."""
    header = series.header
    return len(series.source.paths) == 1 and (frame_count(header) > 1 or not header.get("ImagePositionPatient"))


def _key(series: Series, alone: bool) -> str:
    """What tells a series, or an image that stands alone, from all others."""
    header = series.header
    return str(header.get("SeriesInstanceUID", "")) + (str(header.get("SOPInstanceUID", "")) if alone else "")


def _named_once(found: Sequence[Series]) -> tuple[list[Series], list[LeftOutSeries]]:
    """Each image with its name; of files that stand alone without second copies, and these."""
    result = [series for series in found if series.problem]
    known: set[str] = set()
    copies: Counter[str] = Counter()
    for series in found:
        if series.problem:
            continue
        alone = _stands_alone(series)
        key = _key(series, alone)
        source = _named(series.source, _kind(series.header), key.encode())
        if alone and series.header.get("SOPInstanceUID") and key in known:
            copies[source.stem] += 1
            continue
        known.add(key)
        result.append(replace(series, source=source))
    left_out = [LeftOutSeries(name, files, "a second copy of this image") for name, files in copies.items()]
    return sorted(result, key=lambda series: series.source.paths[0]), left_out


def _by_series(left_out: Iterable[LeftOut]) -> list[LeftOutSeries]:
    """The files that are left out, those of a series and a reason as one; without what this package wrote."""
    groups: dict[tuple[str, str], list[Series]] = defaultdict(list)
    for one in left_out:
        series = _look_at(ImageSource((one.path,), "dicom", ""), _NAMING)
        if not _is_own(series):
            groups[series.name or _key(series, alone=False), one.reason].append(series)
    result = []
    for (_, reason), members in groups.items():
        first = members[0]
        if not first.problem:
            key = _key(first, alone=len(members) == 1 and _stands_alone(first))
            first = replace(first, source=_named(first.source, _kind(first.header), key.encode()))
        result.append(LeftOutSeries(first.name, len(members), reason))
    return result


def modality_of(header: Dataset) -> str | None:
    """The modality, where it is one of the standard's; others may be anything, a name among them."""
    stated = readable(header, "Modality")
    return stated if stated in _MODALITIES else None


def _kind(header: Dataset) -> str:
    """Modality and series number, as far as they are valid: "ct_3"."""
    words = [(modality_of(header) or "image").lower()]
    with contextlib.suppress(TypeError, ValueError):
        number = int(readable(header, "SeriesNumber"))
        words += [str(number)] if 0 <= number < _MOST_IS else []
    return "_".join(words)


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
