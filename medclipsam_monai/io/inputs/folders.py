"""The files of a folder that may be images: each once, links followed, loops apart, our own outputs left out."""

from __future__ import annotations

import fnmatch
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.io.formats.table import split_name
from medclipsam_monai.io.records import read_record

_OWN_OUTPUTS = ("*_mask.*", "*_overlay.png", "*_saliency*", "*_probability*", "*_seg.dcm")


def with_home(path: str | Path) -> Path:
    """A path with the home folder in place of ``~`` or ``~user``.

    Raises:
        InputError: there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{path}: {Path(path).parts[0]} has no home folder here; give the path in full") from error


def meant_files(where: str | Path, paths: Iterable[Path]) -> list[Path]:
    """The files of a folder or glob that may be images to segment: not the hidden ones, and no outputs.

    Files with an output's name are left out with a note, unless a record says that this package wrote them.
    """
    seen = [path for path in paths if not path.name.startswith(".")]
    outputs = {path for path in seen if any(fnmatch.fnmatch(path.name, pattern) for pattern in _OWN_OUTPUTS)}
    others = [path for path in sorted(outputs) if split_name(path)[1] and path.is_file() and not _is_recorded(path)]
    if others:
        warnings.warn(
            f"{where}: left out for names that outputs have: {_listed(others)}; name a file itself to segment it",
            InputWarning,
            stacklevel=2,
        )
    return [path for path in seen if path not in outputs and path.is_file()]


def _is_recorded(path: Path) -> bool:
    """Whether a record beside a file names it among its outputs."""
    stems = (
        path.name[: found.start()] for found in re.finditer(r"_(mask|overlay|saliency|probability|seg)", path.name)
    )
    records = (read_record(path.with_name(f"{stem}.json")) for stem in stems)
    return any(record is not None and path.name in record["outputs"] for record in records)


def _listed(paths: Sequence[Path]) -> str:
    return paths[0].name if len(paths) == 1 else f"{paths[0].name} and {len(paths) - 1} more"


def files_below(folder: Path) -> list[Path]:
    """Regular files below a folder; links to folders are followed after all else, so that each file is found once.

    Raises:
        InputError: a folder cannot be opened.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be searched: {error.strerror}")

    found: dict[str, Path] = {}
    seen: set[str] = set()
    open_folders = [str(folder)]
    while open_folders:
        start = open_folders.pop(0)
        links: list[str] = []
        for root, folders, names in os.walk(start, onerror=refuse):
            real = os.path.realpath(root)
            folders[:] = sorted(name for name in folders if not name.startswith(".")) if real not in seen else []
            if real in seen:
                continue
            seen.add(real)
            links += [os.path.join(root, name) for name in folders if os.path.islink(os.path.join(root, name))]
            for path in meant_files(root, [Path(root, name) for name in sorted(names)]):
                known = found.get(os.path.realpath(path))
                if known is None or (known.is_symlink() and not path.is_symlink()):
                    found[os.path.realpath(path)] = path  # a file goes before links to it, in whatever order
        # a link to a folder around the searched one is a loop
        open_folders += [link for link in links if not _is_around(os.path.realpath(link), os.path.realpath(folder))]
    return sorted(found.values())


def _is_around(outer: str, inner: str) -> bool:
    return os.path.commonpath([outer, inner]) == outer
