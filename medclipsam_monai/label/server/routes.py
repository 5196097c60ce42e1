"""MONAI Label's other routes, where they would answer 500, the wrong thing, or nothing at all without a word."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import BackgroundTasks, HTTPException, Request, Response, UploadFile
from fastapi.responses import FileResponse
from monailabel.config import settings
from monailabel.endpoints import datastore, logs, model, ohif, proxy
from monailabel.interfaces.utils.app import app_instance, clear_cache
from monailabel.utils.others.generic import file_checksum, get_mime_type

from medclipsam_monai.base.checked_fields import shown
from medclipsam_monai.label.http_errors import CONFLICT, NOT_FOUND, UNPROCESSABLE, http_errors
from medclipsam_monai.label.server.patches import checked_first, replaced

if TYPE_CHECKING:
    from medclipsam_monai.label.server.app import TextLabelApp

_CHECKSUMS = ("SHA256", "SHA512", "MD5")


def install() -> None:
    """Let these functions stand in front of MONAI Label's, or in their place."""
    checked_first(datastore, "get_image_info", lambda image: _known_image(image))
    checked_first(datastore, "get_label_info", lambda label, tag: _known_label(label, tag))
    checked_first(datastore, "download_dataset", _check_dataset)
    replaced(datastore, "download_image", download_image)
    replaced(model, "update_model", update_model)
    replaced(ohif, "get_ohif", get_ohif)
    checked_first(logs, "get_logs", _check_log)
    logs.subprocess = _NvidiaSmi
    replaced(proxy, "proxy_dicom", proxied(getattr(proxy.proxy_dicom, "__wrapped__", proxy.proxy_dicom)))


def renew_on_reload() -> None:
    """Let a server that is told to reload its app be a server afterwards as well, which MONAI Label's own is not."""
    server = sys.modules.get("monailabel.app")
    if server is None:  # nobody listens: the process of a task
        return

    def renew() -> None:
        clear_cache()
        app_instance().server_mode(True)

    server.clear_cache = renew  # type: ignore[attr-defined]


def _app() -> TextLabelApp:
    instance: TextLabelApp = app_instance()
    return instance


def _known_image(image: str) -> str:
    """The image's file."""
    path: str = _app().datastore().get_image_uri(image)
    if not path or not os.path.isfile(path):
        raise HTTPException(NOT_FOUND, f"there is no image {shown(image)}")
    return path


def _known_label(label: str, tag: str) -> None:
    if not _app().datastore().get_label_uri(label, tag):
        raise HTTPException(NOT_FOUND, f"there is no label {shown(label)} with the tag {shown(tag)}")


def download_image(image: str, check_only: bool = False, check_sum: str | None = None) -> Any:
    """The image's file, or whether it has this checksum; MONAI Label's own finds each checksum wrong.

    Args:
        image: id.
        check_only: send no file.
        check_sum: "SHA256:...", "SHA512:..." or "MD5:..."; SHA256 where nothing stands before the digits.

    Raises:
        HTTPException: 404 for no such image or another checksum, 422 for another kind of checksum.
    """
    path = _known_image(image)
    if not check_only:
        return FileResponse(path, media_type=get_mime_type(path), filename=os.path.basename(path))
    if check_sum:
        kind, _, digits = check_sum.rpartition(":")
        kind = kind or "SHA256"
        if kind not in _CHECKSUMS:
            raise HTTPException(UNPROCESSABLE, f"a checksum is one of {', '.join(_CHECKSUMS)}, got {shown(kind)}")
        if file_checksum(path, algo=kind) != f"{kind}:{digits.lower()}":
            raise HTTPException(NOT_FOUND, f"image {shown(image)} has another checksum")
    return {}


def _check_dataset(limit_cases: int | None = None) -> None:
    if limit_cases is not None and limit_cases < 1:
        raise HTTPException(UNPROCESSABLE, f"limit_cases must be a whole number from 1 on, got {limit_cases}")
    if not _app().datastore().datalist():
        raise HTTPException(NOT_FOUND, "there is no labelled image yet")


def update_model(background_tasks: BackgroundTasks, name: str, file: UploadFile) -> dict[str, Any]:
    """Serve an ensemble that a client sends, if it is one; the old one stays otherwise.

    Args:
        background_tasks: of the request.
        name: the task, "weak".
        file: as ``CheckpointEnsemble.export`` writes it.

    Raises:
        HTTPException: 404 for a task without a model file, 422 for a file that is no ensemble.
    """
    instance = _app()
    instance.model_file(name, validate=False)
    path = Path(instance.uploads.new(".pt").name)
    try:
        with path.open("wb") as target:
            shutil.copyfileobj(file.file, target)
        with http_errors():
            served = instance.served.replace(path)
    finally:
        path.unlink(missing_ok=True)
    return {"checksum": file_checksum(str(served)), "modified_time": int(served.stat().st_mtime)}


def get_ohif(path: str) -> FileResponse:
    """A file of OHIF, also of its folders; its first page for each address that OHIF itself understands.

    Raises:
        HTTPException: 404 where MONAI Label was installed without it.
    """
    root = Path(ohif.__file__).resolve().parent / "static" / "ohif"
    file = (root / path).resolve()
    if not file.is_relative_to(root) or not file.is_file():
        file = root / "index.html"
    if not file.is_file():
        raise HTTPException(NOT_FOUND, "OHIF is no part of this installation of MONAI Label")
    return FileResponse(file, media_type=get_mime_type(str(file)))


def _check_log(file: str, *_: Any) -> None:
    if not os.path.isfile(file):
        raise HTTPException(NOT_FOUND, "this server writes no log file")


class _NvidiaSmi:
    """``subprocess`` for the route that shows the GPUs."""

    PIPE = -1

    @staticmethod
    def run(words: list[str], **options: Any) -> Any:
        import subprocess

        if shutil.which(words[0]) is None:
            raise HTTPException(NOT_FOUND, f"{words[0]} is not on this machine")
        return subprocess.run(words, **options)


def proxied(original: Any) -> Any:
    """MONAI Label's way to the DICOMweb archive, with a line where there is none or it does not answer."""

    async def proxy_dicom(request: Request, op: str, path: str) -> Response:
        if not settings.MONAI_LABEL_STUDIES.startswith(("http://", "https://")):
            raise HTTPException(CONFLICT, "there is no DICOMweb archive: this server serves a folder")
        with http_errors():
            answer: Response = await original(request, op, path)
        return answer

    return proxy_dicom
