"""The folder that ``monailabel start_server --app`` takes: a few lines that name the tasks of this package."""

from __future__ import annotations

import shutil
from pathlib import Path

from medclipsam_monai.base.errors import InputError

TEMPLATE = Path(__file__).parents[1] / "app_template"


def write_app_folder(folder: str | Path) -> Path:
    """Write a ready MONAI Label app; an app that is there is brought up to date, its models stay.

    Args:
        folder: where to; a new or empty folder, or one that holds such an app.

    Returns:
        The folder.

    Raises:
        InputError: a folder of something else, or one that cannot be written.
    """
    target = Path(folder).expanduser()
    try:
        there = target.is_dir() and any(target.iterdir())
        if there and not (target / "lib" / "configs").is_dir():
            raise InputError(f"{target} holds something else than a label app; give a new folder")
        shutil.copytree(TEMPLATE, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        (target / "model").mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write the app in {target}: {error.strerror or error}") from error
    return target
