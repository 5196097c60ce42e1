"""Finds the images that the user's paths, folders and globs mean, and gives each a name for its outputs.

A folder is searched to its depths, links to folders too, each image once. Which DICOM files make one image and which
are no image to segment says `medclipsam_monai.io.dicom.series`, for all inputs together: files that are named
themselves, or folders that share a series, make its one volume; a file alone is a picture. Only regular files are
opened. Hidden files and this package's own outputs in a searched folder or a glob are left out.
"""

from __future__ import annotations

import glob
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.dicom.files import DicomFiles, LeftOut
from medclipsam_monai.io.dicom.series import DicomGroup, common_folder, group_files
from medclipsam_monai.io.formats.table import DICOM, format_of_suffix, split_name, supported_suffixes
from medclipsam_monai.io.guard import only_our_warnings
from medclipsam_monai.io.inputs.folders import files_below, meant_files, with_home
from medclipsam_monai.io.inputs.names import unique_stems
from medclipsam_monai.io.inputs.sources import Found, ImageSource


def _sought() -> str:
    return f"{' '.join(supported_suffixes())} and DICOM files without a suffix"


def _kind_of(path: Path, opened: DicomFiles) -> str | None:
    """The format of a file by its suffix or, without one, by its first bytes; None for one that is no image."""
    suffix = split_name(path)[1]
    if suffix:
        return format_of_suffix(suffix)
    return DICOM if opened.has(path) else None


def _file(path: Path, kind: str) -> ImageSource:
    return ImageSource((path,), kind, split_name(path)[0])


def _grouped(files: Sequence[Path], opened: DicomFiles, *, leave_out: bool) -> tuple[list[ImageSource], list[LeftOut]]:
    """Sources of DICOM files: one a series, named by its folder, and one a file that stands alone."""
    with only_our_warnings():
        groups, left_out = group_files(files, opened, leave_out=leave_out)
    series = [group for group in groups if len(group.paths) > 1]
    of_folder: dict[Path, list[DicomGroup]] = defaultdict(list)
    for group in series:
        of_folder[group.folder].append(group)
    found = [_file(group.paths[0], DICOM) for group in groups if len(group.paths) == 1]
    found += [ImageSource(group.paths, DICOM, _series_name(group, of_folder[group.folder])) for group in series]
    return found, left_out


def _series_name(group: DicomGroup, neighbours: Sequence[DicomGroup]) -> str:
    """The folder's name, with the number of the series where the folder holds several; itself a neighbour."""
    name = group.folder.resolve().name or "series"
    if len(neighbours) == 1:
        return name
    same = [other for other in neighbours if other.number == group.number]
    return f"{name}_series{group.number}" + (f"_{same.index(group) + 1}" if len(same) > 1 else "")


def _scan(folder: Path, opened: DicomFiles) -> tuple[list[ImageSource], list[LeftOut]]:
    """All images below a folder; their stems tell the way down to them, so they do not depend on what else is there."""
    kinds = {path: kind for path in files_below(folder) if (kind := _kind_of(path, opened))}
    found = [_file(path, kind) for path, kind in kinds.items() if kind != DICOM]
    sources, left_out = _grouped([path for path, kind in kinds.items() if kind == DICOM], opened, leave_out=True)
    named = []
    for source in sorted([*found, *sources], key=lambda source: source.paths[0]):
        way = common_folder(source.paths).relative_to(folder).parts
        if len(source.paths) > 1:
            way = way[:-1]  # the series' own folder is in its stem
        named.append(replace(source, stem="_".join((*way, source.stem))))
    return named, left_out


def _glob(pattern: str, opened: DicomFiles) -> tuple[list[ImageSource], list[LeftOut]]:
    """Folders that match are searched; DICOM files that match are grouped as those of one folder are."""
    found: list[ImageSource] = []
    left_out: list[LeftOut] = []
    covered: set[Path] = set()
    files: list[Path] = []
    for match in sorted(map(Path, glob.glob(pattern, recursive=True))):
        if match.is_dir():
            new, more = _scan(match, opened)
            left_out += [one for one in more if one.path.resolve() not in covered]
            found += [one for one in new if not covered.issuperset(path.resolve() for path in one.paths)]
            covered.update(path.resolve() for one in new for path in one.paths)
            covered.update(one.path.resolve() for one in more)
        else:
            files.append(match)
    files = meant_files(pattern, files)
    kinds = {path: kind for path in files if path.resolve() not in covered and (kind := _kind_of(path, opened))}
    found += [_file(path, kind) for path, kind in kinds.items() if kind != DICOM]
    sources, more = _grouped([path for path, kind in kinds.items() if kind == DICOM], opened, leave_out=True)
    return sorted([*found, *sources], key=lambda source: source.paths[0]), left_out + more


def _expand(pattern: str | Path, opened: DicomFiles) -> tuple[list[ImageSource], list[LeftOut]]:
    if not str(pattern).strip():
        raise InputError("an input is empty; give a file, a folder or a glob")
    path = with_home(pattern)
    if path.is_dir():
        found, left_out = _scan(path, opened)
        if not found:
            raise InputError(f"{path}: no image in this folder; looked for {_sought()}")
        return found, left_out
    if path.is_file():
        kind = _kind_of(path, opened)
        if kind is None:
            raise InputError(f"{path}: is not a supported image; supported are {_sought()}")
        return [_file(path, kind)], []
    if path.exists():
        raise InputError(f"{path}: is a pipe, a socket or a device; an image must be a regular file")
    if path.is_symlink():
        raise InputError(f"{path}: is a link to a file that is not there")
    if glob.has_magic(str(path)):
        found, left_out = _glob(str(path), opened)
        if not found:
            raise InputError(f"{path}: matches no image; looked for {_sought()}")
        return found, left_out
    raise InputError(f"{path}: no such file or folder")


def _without_data_files(sources: Sequence[ImageSource]) -> list[ImageSource]:
    """Leaves out files that are only the voxels of another source's header."""
    data = {path.resolve() for source in sources for path in source.files[len(source.paths) :]}
    return [source for source in sources if source.paths[0].resolve() not in data]


def _joined(found: Sequence[ImageSource], opened: DicomFiles) -> list[ImageSource]:
    """DICOM sources whose files belong to one series, such as a shell makes of ``series/*.dcm`` or ``disc/*``, as one.

    The others stay as they are, with their names, and so does a slice that is named beside its own series.
    """
    spelling: dict[Path, Path] = {}  # of a file that is named in several ways, the first counts
    for source in found:
        for path in source.paths:
            spelling.setdefault(path.resolve(), path)
    found = [replace(one, paths=tuple(dict.fromkeys(spelling[path.resolve()] for path in one.paths))) for one in found]
    whole = {path for source in found if len(source.paths) > 1 for path in source.paths}
    files = {path for source in found if source.kind == DICOM for path in source.paths}
    of_file = {path: group for group in _grouped(sorted(files), opened, leave_out=False)[0] for path in group.paths}
    joined: list[ImageSource] = []
    for source in found:
        groups = dict.fromkeys(of_file.get(path, source) for path in source.paths)
        alone = len(source.paths) == 1 and source.paths[0] in whole
        shared = not alone and any(not set(group.paths) <= set(source.paths) for group in groups)
        joined += groups if shared else [source]
    return joined


def with_unique_stems(sources: Sequence[ImageSource]) -> list[ImageSource]:
    """Tells sources of one stem apart by their folders, then by their suffixes, then by a hash of their paths."""

    def with_folder(place: int, stem: str) -> str:
        return f"{sources[place].paths[0].resolve().parent.name}_{stem}"

    def with_suffix(place: int, stem: str) -> str:
        return stem + split_name(sources[place].paths[0])[1].replace(".", "_")

    def whole(source: ImageSource) -> bytes:
        several = b"" if len(source.paths) == 1 else b"\0%d" % len(source.paths)  # a series is not its first slice
        return os.fsencode(source.paths[0].resolve()) + several

    stems = unique_stems(
        [source.stem for source in sources],
        (with_folder, with_suffix),
        [whole(source) for source in sources],
    )
    return [replace(source, stem=stem) for source, stem in zip(sources, stems, strict=True)]


def search_inputs(patterns: Iterable[str | Path]) -> Found:
    """Finds the images of all patterns, each once, in the order of the patterns and sorted within each.

    Args:
        patterns: files, folders (searched to their depths) and globs (``**`` crosses folders).

    Returns:
        The images, what was left out of folders and globs, and the patterns that cannot be used. A file's stem is its
        name; below a folder the way down leads it ("a_x" for a/x.png); two equal ones get their folder's name in
        front. Stems can be printed, have at most 120 bytes and do not begin with a dot.
    """
    found: list[ImageSource] = []
    left_out: dict[Path, LeftOut] = {}
    failed: list[tuple[str, str]] = []
    patterns, opened = list(patterns), DicomFiles()
    for pattern in patterns:
        try:
            sources, more = _expand(pattern, opened)
        except InputError as error:
            failed.append((str(pattern), str(error)))
            continue
        except OSError as error:
            failed.append((str(pattern), f"{pattern}: cannot be opened: {error.strerror or error}"))
            continue
        found += sources
        left_out.update((one.path, one) for one in more)
    each: dict[tuple[Path, ...], ImageSource] = {}
    if len(patterns) != 1 or failed or not with_home(*patterns).is_dir():  # the series of one folder are whole
        found = _joined(found, opened)
    for source in found:
        each.setdefault(tuple(path.resolve() for path in source.paths), source)
    return Found(
        tuple(with_unique_stems(_without_data_files(list(each.values())))), tuple(left_out.values()), tuple(failed)
    )


def find_inputs(patterns: Iterable[str | Path]) -> list[ImageSource]:
    """The images of `search_inputs`, where every pattern must have some.

    Raises:
        InputError: a pattern that finds nothing, a file that is no supported image, an unreadable folder.
    """
    found = search_inputs(patterns)
    if found.failed:
        raise InputError(found.failed[0][1])
    if not found.sources:
        raise InputError(f"no input given; looked for {_sought()}")
    return list(found.sources)
