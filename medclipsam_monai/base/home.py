"""Paths that begin with ``~``."""

from __future__ import annotations

from pathlib import Path

from medclipsam_monai.base.errors import InputError


def with_home(path: str | Path) -> Path:
    """A path with the home folder in place of ``~`` or ``~user``.

    Raises:
        InputError: there is no such user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{path}: {Path(path).parts[0]} has no home folder here; give the path in full") from error
