"""Which DICOM files make one image, and which are no image to segment.

Slices with positions that share a SeriesInstanceUID are one image, in whatever folders they lie, as long as no two of
different folders lie in one place (then the folders are what keeps phases or echoes apart). Files without positions and
multi-frame ones are images by themselves.

Of a study only its images are used: where there are any, localizers and screens (secondary captures, dose reports,
pages of a summary) are left out. A series whose slices lie in several planes, most of them in no one, is a localizer,
whether it says so or not. A study of nothing but secondary captures, such as converted pictures, is used.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.dicom.files import DicomFile, DicomFiles, LeftOut, Use

_SAME_ANGLE = 0.05  # direction cosines: three degrees
_REASONS = {
    Use.LOCALIZER: "a localizer of a study that has other images",
    Use.SCREEN: "a secondary capture or report screen of a study that has images",
}


@dataclass(frozen=True)
class DicomGroup:
    """The files of one image.

    Attributes:
        paths: in the order of their names.
        number: SeriesNumber, for a name.
    """

    paths: tuple[Path, ...]
    number: str = "0"

    @cached_property
    def folder(self) -> Path:
        """The folder that holds all of its files, at whatever depth."""
        return common_folder(self.paths)


def common_folder(paths: Sequence[Path]) -> Path:
    """The deepest folder that holds all files."""
    parents = {path.parent for path in paths}
    return parents.pop() if len(parents) == 1 else Path(os.path.commonpath(parents))


def group_files(
    paths: Iterable[Path], opened: DicomFiles, *, leave_out: bool
) -> tuple[list[DicomGroup], list[LeftOut]]:
    """Finds the images that DICOM files make.

    Args:
        paths: the files, in the order of their names.
        opened: what this search knows of them already.
        leave_out: whether to leave out what is no image to segment; files that a user names are all meant.

    Returns:
        The images, and what was left out. A file that cannot be read is an image by itself: reading it tells why.
    """
    files: list[DicomFile] = []
    alone: list[Path] = []
    left_out: list[LeftOut] = []
    for path in paths:
        try:
            looked = opened.look(path)
        except InputError:
            alone.append(path)
            continue
        if isinstance(looked, DicomFile):
            files.append(looked)
        elif leave_out and looked is not None:
            left_out.append(looked)
        elif not leave_out:
            alone.append(path)
    if leave_out:
        files, screens = _images_of_studies(files)
        left_out += screens
    groups = [DicomGroup((path,)) for path in alone]
    by_series: dict[tuple[str, str], list[DicomFile]] = defaultdict(list)
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


def _images_of_studies(files: Sequence[DicomFile]) -> tuple[list[DicomFile], list[LeftOut]]:
    """The files of the best use in each study, and the others."""
    by_series: dict[tuple[str, str], list[DicomFile]] = defaultdict(list)
    for file in files:
        by_series[file.study, file.series].append(file)
    uses: dict[DicomFile, Use] = {}
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


def _alike(one: DicomFile, other: DicomFile) -> bool:
    """Whether two slices lie at one angle."""
    if len(one.directions) != len(other.directions):
        return False
    return all(abs(a - b) < _SAME_ANGLE for a, b in zip(one.directions, other.directions, strict=True))


def _without_main_angle(members: Sequence[DicomFile]) -> bool:
    """Whether a series is a localizer in several planes: most of its slices lie in no one way."""
    placed = [file for file in members if file.frames == 1 and file.position and file.directions]
    return bool(placed) and all(2 * sum(_alike(one, other) for other in placed) <= len(placed) for one in placed)


def _parts(members: Sequence[DicomFile]) -> list[list[DicomFile]]:
    """A series as one, or a part for each folder where parts of different folders cannot be one volume."""
    folders: dict[Path, list[DicomFile]] = defaultdict(list)
    for file in members:
        folders[file.path.parent].append(file)
    if len(folders) == 1:
        return [list(members)]
    at: dict[tuple[int, ...], DicomFile] = {}
    for part in folders.values():
        for file in part:
            other = at.setdefault(file.position or (), file)
            apart = file.path.parent != other.path.parent and file.position is not None
            if apart and (not file.instance or file.instance != other.instance):
                return list(folders.values())
    if any(file.shape != members[0].shape or not _alike(file, members[0]) for file in members):
        return list(folders.values())
    return [list(members)]
