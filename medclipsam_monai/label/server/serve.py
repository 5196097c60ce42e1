"""Starts the server: MONAI Label with this package's app, on this machine alone unless told otherwise."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.label.server.app_folder import write_app_folder


def start_server(
    studies: str,
    app: str | Path = "label_app",
    host: str = "127.0.0.1",
    port: int = 8000,
    options: Sequence[str] = (),
) -> NoReturn:
    """Write the app's folder and let MONAI Label take the place of this process.

    Args:
        studies: folder of images, which is made where there is none, or the address of a DICOMweb archive.
        app: folder of the app; what was trained there is kept.
        host: address to listen on.
        port: to listen on.
        options: more words for ``monailabel start_server``, such as "--conf", "text", "heart".

    Raises:
        InputError: MONAI Label is not installed, the studies are no folder, or the app cannot be written.
    """
    if studies.startswith("-"):
        raise InputError(f"the images come first, then the options, got {studies!r} in their place")
    if find_spec("monailabel") is None:
        raise InputError(
            "MONAI Label is not installed: pip install 'medclipsam-monai[label]', in an environment of its own; "
            "scripts/label.sh makes one"
        )
    if not studies.startswith(("http://", "https://")):
        folder = Path(studies).expanduser()
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{studies}: is no folder; give the folder of the images, or a DICOMweb address")
        studies = str(folder)
    words = ["--app", str(write_app_folder(app)), "--studies", studies, "--host", host, "--port", str(port), *options]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "monailabel.main", "start_server", *words])
