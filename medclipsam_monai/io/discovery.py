"""Finds the images that the user's paths, folders and globs mean, and gives each a name for its outputs.

A folder is searched to its depths. DICOM slices with positions that share a folder and a SeriesInstanceUID are one
image, so a folder of two series gives two images; DICOM files without positions (X-ray, ultrasound) and multi-frame
ones are images by themselves, and so is a DICOM file that is named itself. Hidden files and this package's own outputs
in a searched folder or a glob are left out.
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medclipsam_monai.errors import InputError
from medclipsam_monai.io.dicom_header import is_image, read_header
from medclipsam_monai.io.guard import one_line, only_our_warnings

_KIND_OF_SUFFIX = {
    ".png": "picture",
    ".jpg": "picture",
    ".jpeg": "picture",
    ".tif": "picture",
    ".tiff": "picture",
    ".bmp": "picture",
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "itk",
    ".mha": "itk",
    ".mhd": "itk",
    ".dcm": "dicom",
}
SUPPORTED_SUFFIXES = tuple(_KIND_OF_SUFFIX)
_SOUGHT = f"{' '.join(SUPPORTED_SUFFIXES)} and DICOM files without a suffix"
_OWN_OUTPUTS = ("*_mask.*", "*_overlay.png", "*_saliency*", "*_probability*")
_GROUPING_TAGS = (
    "SOPClassUID",
    "Modality",
    "SeriesInstanceUID",
    "SeriesNumber",
    "NumberOfFrames",
    "Rows",
    "ImagePositionPatient",
)


@dataclass(frozen=True)
class ImageSource:
    """One image to segment.

    Attributes:
        paths: its file, or the files of its DICOM series in the order of their names.
        kind: "picture", "nifti", "itk" or "dicom".
        stem: name for its outputs, unique among the sources found together.
    """

    paths: tuple[Path, ...]
    kind: str
    stem: str

    @property
    def name(self) -> str:
        """Base name of the file, or of the series' folder: what a record may show."""
        return self.paths[0].name if len(self.paths) == 1 else self.paths[0].resolve().parent.name

    @property
    def label(self) -> str:
        """What to call the image in messages: its path, or the folder and size of its series."""
        if len(self.paths) == 1:
            return str(self.paths[0])
        return f"{self.paths[0].parent} (series of {len(self.paths)} files, {self.stem})"


def _split(path: Path) -> tuple[str, str]:
    """Stem and suffix, lower case; only the suffixes that are supported count as such."""
    for suffix in sorted(_KIND_OF_SUFFIX, key=len, reverse=True):
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return path.name[: -len(suffix)], suffix
    return path.name, ""


def _has_dicom_mark(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _kind(path: Path) -> str | None:
    suffix = _split(path)[1]
    if suffix:
        return _KIND_OF_SUFFIX[suffix]
    return "dicom" if _has_dicom_mark(path) else None


def _is_left_out(path: Path) -> bool:
    return path.name.startswith(".") or any(fnmatch.fnmatch(path.name, pattern) for pattern in _OWN_OUTPUTS)


def _file(path: Path) -> ImageSource:
    kind = _kind(path)
    if kind is None:
        raise InputError(f"{path}: is not a supported image; supported are {_SOUGHT}")
    return ImageSource((path,), kind, _split(path)[0])


def _files_below(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be searched: {error.strerror}")

    found: list[Path] = []
    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, name) for name in names]
    return sorted(path for path in found if not _is_left_out(path))


@dataclass(frozen=True)
class _Slice:
    """What grouping a DICOM file needs of its header."""

    path: Path
    uid: str
    number: str
    frames: int
    has_position: bool


def _look_at(path: Path) -> _Slice | None:
    """Reads what grouping needs; None for DICOM objects that are no images.

    Raises:
        InputError: not DICOM, or its header holds nonsense.
    """
    with one_line(path, "a DICOM file"):
        header = read_header(path, _GROUPING_TAGS)
        if not is_image(header):
            return None
        number = "0"
        with contextlib.suppress(ValueError, TypeError):  # it only serves as a name
            number = str(header.get("SeriesNumber") or 0)
        return _Slice(
            path,
            uid=str(header.get("SeriesInstanceUID", "")),
            number=number,
            frames=int(header.get("NumberOfFrames") or 1),
            has_position=bool(header.get("ImagePositionPatient")),
        )


def _series(files: Sequence[Path], folder_name: str) -> list[ImageSource]:
    """Sources of the DICOM files of one folder: one a series, named by the folder, and one a file that stands alone.

    A series counts as one image as soon as one of its slices has a position; reading refuses it if others have none.
    """
    groups: dict[str, list[_Slice]] = defaultdict(list)
    alone: list[Path] = []
    for path in files:
        try:
            found_slice = _look_at(path)
        except InputError:
            alone.append(path)  # reading it will say what is wrong with it
            continue
        if found_slice and found_slice.frames > 1:
            alone.append(path)
        elif found_slice:
            groups[found_slice.uid].append(found_slice)
    series: dict[str, tuple[Path, ...]] = {}
    for uid, members in sorted(groups.items()):
        if len(members) > 1 and any(member.has_position for member in members):
            series[uid] = tuple(member.path for member in members)
        else:
            alone += [member.path for member in members]
    numbers = {uid: groups[uid][0].number for uid in series}
    found = [ImageSource((path,), "dicom", _split(path)[0]) for path in alone]
    for uid, paths in series.items():
        same = [other for other in series if numbers[other] == numbers[uid]]
        name = folder_name
        if len(series) > 1:
            name += f"_series{numbers[uid]}" + (f"_{same.index(uid) + 1}" if len(same) > 1 else "")
        found.append(ImageSource(paths, "dicom", name))
    return found


def _scan(folder: Path) -> list[ImageSource]:
    """All images below a folder; their stems tell the way down to them, so they do not depend on what else is there."""
    found: list[ImageSource] = []
    dicom: dict[Path, list[Path]] = defaultdict(list)
    for path in _files_below(folder):
        kind = _kind(path)
        if kind == "dicom":
            dicom[path.parent].append(path)
        elif kind:
            found.append(_file(path))
    with only_our_warnings():
        for parent, files in dicom.items():
            found += _series(files, parent.resolve().name or "series")
    named = []
    for source in sorted(found, key=lambda source: source.paths[0]):
        way = source.paths[0].parent.relative_to(folder).parts
        if len(source.paths) > 1:
            way = way[:-1]  # the series' own folder is in its stem
        named.append(replace(source, stem="_".join((*way, source.stem))))
    return named


def _glob(pattern: str) -> list[ImageSource]:
    found: list[ImageSource] = []
    covered: set[Path] = set()
    for match in sorted(map(Path, glob.glob(pattern, recursive=True))):
        if match.is_dir():
            new = _scan(match)
        elif match.resolve() in covered or _is_left_out(match) or _kind(match) is None:
            continue
        else:
            new = [_file(match)]
        new = [source for source in new if not covered.issuperset(path.resolve() for path in source.paths)]
        covered.update(path.resolve() for source in new for path in source.paths)
        found += new
    return found


def _expand(pattern: str | Path) -> list[ImageSource]:
    path = Path(pattern).expanduser()
    if path.is_dir():
        found = _scan(path)
        if not found:
            raise InputError(f"{path}: no image in this folder; looked for {_SOUGHT}")
        return found
    if path.exists():
        return [_file(path)]
    if glob.has_magic(str(path)):
        found = _glob(str(path))
        if not found:
            raise InputError(f"{path}: matches no image; looked for {_SOUGHT}")
        return found
    raise InputError(f"{path}: no such file or folder")


def _unique(sources: Sequence[ImageSource]) -> list[ImageSource]:
    """Tells sources of one stem apart by their folders, then by their suffixes, then by a hash of their paths."""

    def with_folder(source: ImageSource) -> str:
        return f"{source.paths[0].resolve().parent.name}_{source.stem}"

    def with_suffix(source: ImageSource) -> str:
        return source.stem + _split(source.paths[0])[1].replace(".", "_")

    def with_hash(source: ImageSource) -> str:
        path = source.paths[0].resolve()
        return f"{source.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"

    result = list(sources)
    for rename in (with_folder, with_suffix, with_hash):
        counts = Counter(source.stem.casefold() for source in result)
        result = [
            replace(source, stem=rename(source)) if counts[source.stem.casefold()] > 1 else source for source in result
        ]
    return result


def find_inputs(patterns: Iterable[str | Path]) -> list[ImageSource]:
    """Finds the images of all patterns, each once, in the order of the patterns and sorted within each.

    Args:
        patterns: files, folders (searched to their depths) and globs (``**`` crosses folders).

    Returns:
        Sources with unique stems. A file's stem is its name; below a folder the way down leads it ("a_x" for a/x.png);
        two equal ones get their folder's name in front.

    Raises:
        InputError: a pattern that finds nothing, a file that is no supported image, an unreadable folder.
    """
    found: dict[tuple[Path, ...], ImageSource] = {}
    for pattern in patterns:
        for source in _expand(pattern):
            found.setdefault(tuple(path.resolve() for path in source.paths), source)
    if not found:
        raise InputError(f"no input given; looked for {_SOUGHT}")
    return _unique(list(found.values()))
