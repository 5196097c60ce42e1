"""The files below a folder: each once, links followed, loops apart."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path

from medclipsam_monai.errors import InputError

_OWN_OUTPUTS = ("*_mask.*", "*_overlay.png", "*_saliency*", "*_probability*")


def is_left_out(path: Path) -> bool:
    """Whether a found file is hidden or an output of this package."""
    return path.name.startswith(".") or any(fnmatch.fnmatch(path.name, pattern) for pattern in _OWN_OUTPUTS)


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
            for path in (Path(root, name) for name in sorted(names)):
                known = found.get(os.path.realpath(path))
                if known is not None and (path.is_symlink() or not known.is_symlink()):
                    continue  # a file goes before the links to it, whatever order they are listed in
                if not is_left_out(path) and path.is_file():
                    found[os.path.realpath(path)] = path
        # a link to a folder around the searched one is a loop
        open_folders += [link for link in links if not _is_around(os.path.realpath(link), os.path.realpath(folder))]
    return sorted(found.values())


def _is_around(outer: str, inner: str) -> bool:
    return os.path.commonpath([outer, inner]) == outer
