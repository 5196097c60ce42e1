"""What a file is called without the suffix of its type; images and their masks are paired by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.formats.table import split_name

_MASKS = (".seg.nrrd",)  # suffixes of masks that no image has


def file_stem(path: str | PurePath) -> str:
    """The name of a file without a known suffix; other dots belong to the name, as in those made of a DICOM UID.

    Examples:
        >>> file_stem("a/1.2.840.7.png"), file_stem("ct.seg.nrrd"), file_stem("1.2.840.7")
        ('1.2.840.7', 'ct', '1.2.840.7')
    """
    return split_name(path, _MASKS)[0]


def by_stem(paths: Iterable[str | Path]) -> dict[str, str]:
    """Files by their `file_stem`.

    Raises:
        InputError: two files of one stem, which cannot be told apart by it.
    """
    found: dict[str, str] = {}
    for path in map(str, paths):
        other = found.setdefault(file_stem(path), path)
        if other != path:
            raise InputError(f"{other} and {path} have the same name without their suffix; keep one, or rename one")
    return found


def distinct_stems(paths: Sequence[Path]) -> list[str]:
    """A stem for each of some different files; where two are equal, the suffix or the folders above tell them apart."""
    places = Counter(path.parent / file_stem(path) for path in paths)
    stems, parents = [], []
    for path in paths:
        stem = file_stem(path)
        alone = places[path.parent / stem] == 1
        stems.append(stem if alone else stem + path.name[len(stem) :].replace(".", "_"))
        parents.append(list(path.absolute().parent.parts[1:]))
    while True:
        counts = Counter(stems)
        alike = [number for number, stem in enumerate(stems) if counts[stem] > 1 and parents[number]]
        if not alike:
            return stems
        for number in alike:
            stems[number] = f"{parents[number].pop()}_{stems[number]}"
