"""The DICOM files of a folder that a search passes by for their names: an archive's names mean nothing."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.dicom.files import DicomFiles, LeftOut
from medclipsam_monai.io.formats.table import DICOM, format_of_suffix, split_name
from medclipsam_monai.io.inputs.sources import Found


def passed_by(folder: Path, found: Found) -> list[LeftOut]:
    """The DICOM files below a folder that its search has neither found as DICOM nor left out, with the reason.

    They are hidden, or called like another format's image or like an output of this package; without any image in the
    folder, all that is no image is among them. The index of a disc is not.

    Args:
        folder: what was searched.
        found: what `search_inputs` gives for it.
    """
    known = {path.resolve() for source in found.sources if source.kind == DICOM for path in source.paths}
    known.update(one.path.resolve() for one in found.left_out)
    return [LeftOut(path, reason) for path, reason in _others(folder, known)]


def _others(folder: Path, known: Collection[Path]) -> Iterator[tuple[Path, str]]:
    opened, seen = DicomFiles(), set(known)
    for path in sorted(Path(root, name) for root, _, names in os.walk(folder) for name in names):
        real = path.resolve()
        if real in seen or not opened.has(path):
            continue
        seen.add(real)
        try:
            looked = opened.look(path)
        except InputError:  # an image or not, it was meant to be one
            yield path, _by_its_name(path.relative_to(folder))
            continue
        if looked is not None:
            yield path, looked.reason if isinstance(looked, LeftOut) else _by_its_name(path.relative_to(folder))


def _by_its_name(way: Path) -> str:
    suffix = split_name(way)[1]
    if any(part.startswith(".") for part in way.parts):
        return "a hidden file"
    if suffix and format_of_suffix(suffix) != DICOM:
        return "a DICOM file whose name ends as those of another format do"
    return "a DICOM file with a name that outputs of this package have"
