"""The folder of a bundle: whether there is one, and nothing outside of it, before anything of it is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object

CONFIG = Path("configs", "inference.json")
"""Where a bundle says how it infers."""
METADATA = Path("configs", "metadata.json")
"""Where a bundle says what it is."""


def check_bundle(folder: Path) -> None:
    """Refuse what is no bundle's folder, or one that reaches out of itself.

    Raises:
        InputError: it has no configuration or one that is no JSON object, or a link or a path of it leads out of it.
    """
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder} is no bundle: it has no {CONFIG}")
    _check_links(folder, folder)
    for text in _texts(read_object(folder / CONFIG)):
        if ".." in PurePosixPath(text.replace("\\", "/")).parts:
            raise InputError(f"the bundle {folder.name} names a path outside of its folder in {CONFIG}: {text!r}")


def bundle_in(folder: str | Path | None) -> Path | None:
    """The bundle at a container's model path: the folder itself, or the one bundle in it; None where there is none.

    Raises:
        InputError: there are several, one that is a link out of the folder, or the folder cannot be listed.
    """
    if folder is None or not Path(folder).is_dir():
        return None
    try:
        found = [path for path in (Path(folder), *sorted(Path(folder).iterdir())) if (path / CONFIG).is_file()]
    except OSError as error:
        raise InputError(f"the model path {folder} cannot be read: {error.strerror}") from error
    if len(found) > 1:
        raise InputError(f"the model path holds {len(found)} bundles ({', '.join(p.name for p in found)}); name one")
    if not found:
        return None
    _check_inside(found[0], Path(folder))
    return found[0]


def _check_links(folder: Path, root: Path) -> None:
    """Refuse links that lead out of a folder, at any depth; they are not followed."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink():
                _check_inside(path, root)


def _check_inside(path: Path, root: Path) -> None:
    if not path.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{path} is a link out of {root}; copy what it stands for into the folder")


def _texts(content: Any) -> Iterator[str]:
    """All texts of a JSON value but those of keys."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict | list):
        for value in content.values() if isinstance(content, dict) else content:
            yield from _texts(value)
