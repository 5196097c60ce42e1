"""Files that appear whole or not at all.

A file is written beside its place under a hidden temporary name and then renamed. What cannot be written (a full disk,
a folder without permission) is one line for the user, and the temporary file is gone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from medclipsam_monai.errors import InputError


def write_atomically(path: Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` make a file beside ``path`` and rename it into place.

    Args:
        path: where the file is to be; its folder is made if need be.
        write: writes to the path it is given, whose suffix is that of ``path``.

    Returns:
        ``path``.

    Raises:
        InputError: the folder or the file cannot be written.
    """
    suffix = ".nii.gz" if path.name.endswith(".nii.gz") else path.suffix
    part = path.with_name(f".{path.name.removesuffix(suffix)}.{os.getpid()}.part{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"cannot write {path.name} in {path.parent}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a text file in UTF-8, line ends as they are.

    Raises:
        InputError: the file cannot be written.
    """
    return write_atomically(path, lambda part: part.write_text(text, encoding="utf-8", newline=""))
