"""MONAI Label's routes that start something or choose an image, with what they are asked for checked at once.

Its own queue whatever they get, and the mistake shows in a log; DICOM SEG they name by what the client happens to say.
"""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fastapi import BackgroundTasks, HTTPException, UploadFile
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.endpoints import activelearning, batch_infer, infer, scoring, train
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.generic import remove_file

from medclipsam_monai.base.checked_fields import shown
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.label.http_errors import NOT_FOUND, UNPROCESSABLE, form_object, http_errors
from medclipsam_monai.label.options import whole_option
from medclipsam_monai.label.server.datastore import plain
from medclipsam_monai.label.server.dicom_seg import write_segments
from medclipsam_monai.label.server.patches import checked_first, replaced

if TYPE_CHECKING:
    from medclipsam_monai.label.server.app import TextLabelApp

_LARGEST = 1_000_000


def install() -> None:
    """Let these functions stand in front of MONAI Label's, or in their place."""
    replaced(infer, "run_inference", run_inference)
    checked_first(train, "run_model", check_training)
    checked_first(train, "run", lambda params=None, *_: _check_all(params, check_training, "trainers"))
    checked_first(scoring, "run_method", check_scoring)
    checked_first(scoring, "run", lambda params=None, *_: _check_all(params, check_scoring, "scoring"))
    checked_first(batch_infer, "run", check_batch)
    checked_first(activelearning, "sample", check_sample)


def check_training(model: str, params: Mapping[str, Any] | None = None, *_: Any) -> None:
    """A training as a client asks for it; the classes of its text are listed in /info from then on.

    Raises:
        HTTPException: 404 for an unknown one, 422 for options that cannot be used.
    """
    _check_task("training", model, _app()._trainers, "model", params)


def check_scoring(method: str, params: Mapping[str, Any] | None = None, *_: Any) -> None:
    """A scoring as a client asks for it.

    Raises:
        HTTPException: 404 for an unknown one, 422 for options that cannot be used.
    """
    _check_task("scoring method", method, _app()._scoring_methods, "method", params)


def check_batch(model: str, images: Any = None, params: Mapping[str, Any] | None = None, *_: Any) -> None:
    """A batch as a client asks for it.

    Raises:
        HTTPException: 404 for an unknown model, 409 for one that was not trained yet, 422 for options that cannot be
            used.
    """
    _check_task("model", model, _app()._infers, "model", params)
    options = params or {}
    with http_errors():
        for name in ("max_workers", "max_batch_size"):
            whole_option(options, name, 0, 0, _LARGEST)
        plain(str(options.get("label_tag") or "original"), "a label's tag")


def check_sample(strategy: str, params: Mapping[str, Any] | None = None, *_: Any) -> None:
    """The next image as a client asks for it.

    Raises:
        HTTPException: 404 for an unknown strategy, 422 for options that there are not.
    """
    _check_task("strategy", strategy, _app()._strategies, "strategy", params)


def _check_task(kind: str, name: str, tasks: dict[str, Any], key: str, params: Mapping[str, Any] | None) -> None:
    """A task that a client names, and the options for it; ``key`` is what its name is called among these."""
    _app().known(kind, name, tasks)
    with http_errors():
        check_process_options(params or {}, key, name)
        tasks[name].check(params or {})


def check_process_options(request: Mapping[str, Any], key: str, name: str) -> None:
    """What MONAI Label itself reads of a request that it hands to a process of its own.

    Args:
        request: options as they came.
        key: what the name of a task is called there.
        name: of the task, which they may repeat but not change.

    Raises:
        InputError: a value that would be read as something else, or that leaves the task hanging.
    """
    if request.get(key, name) != name:
        raise InputError(f"{key} is {name} here, as the address says, got {shown(request[key])}")
    if not isinstance(request.get("gpus") or "", str):
        raise InputError(f'gpus must be a text such as "0,1" or "all", got {shown(request["gpus"])}')


def _app() -> TextLabelApp:
    instance: TextLabelApp = app_instance()
    return instance


def _check_all(params: Mapping[str, Any] | None, check: Any, kind: str) -> None:
    """The options of all tasks of a kind: each name of a task may hold those of its own, all others are for all."""
    names, params = list(_app().info()[kind]), params or {}
    common = {name: value for name, value in params.items() if name not in names}
    for name in names:
        own = params.get(name) or {}
        if not isinstance(own, Mapping):
            raise HTTPException(UNPROCESSABLE, f"{name} must hold an object of its options, got {shown(own)}")
        check(name, {**own, **common})


def run_inference(
    background_tasks: BackgroundTasks,
    model: str,
    image: str = "",
    session_id: str = "",
    params: str = "{}",
    file: UploadFile | None = None,
    label: UploadFile | None = None,
    output: Any = None,
) -> Any:
    """As MONAI Label's, whose arguments these are; the segments of DICOM SEG have the answer's own names.

    A label that comes with the request is read by none of the tasks here.

    Raises:
        HTTPException: 404 for what is not there, 422 for what cannot be used.
    """
    instance = _app()
    options = form_object(params or "{}")
    for name, value in (("model", model), ("image", image)):
        if value and options.get(name, value) != value:
            line = f"{name} is {shown(value)}, as the address says, and params say {shown(options[name])}"
            raise HTTPException(UNPROCESSABLE, line)
    request: dict[str, Any] = {"model": model, "image": image, **options}
    if output == infer.ResultType.dicom_seg and not isinstance(instance.datastore(), DICOMWebDatastore):
        raise HTTPException(UNPROCESSABLE, "DICOM SEG is for images of a DICOMweb archive; ask for output=image")
    if file:
        request["image"] = _received(instance, file)
        background_tasks.add_task(remove_file, request["image"])
    if session_id:
        sessions = instance.sessions()
        session = sessions.get_session(session_id) if sessions else None
        if session is None:
            raise HTTPException(NOT_FOUND, f"there is no session {shown(session_id)}; it may have expired")
        request.update(image=session.image, session=session.to_json())
    if not request["image"]:
        raise HTTPException(UNPROCESSABLE, "there is no image: name one of the datastore (image=ID), or send a file")
    result = instance.infer(request)
    if output == infer.ResultType.dicom_seg:
        result["dicom_seg"] = _as_dicom_seg(instance, image, result)
    return infer.send_response(instance.datastore(), result, output, background_tasks)


def _received(instance: TextLabelApp, file: UploadFile) -> str:
    ending = "".join(pathlib.Path(file.filename).suffixes) if file.filename else ".nii.gz"
    path: str = instance.uploads.new(suffix=ending).name
    with open(path, "wb") as target:
        shutil.copyfileobj(file.file, target)
    return path


def _as_dicom_seg(instance: TextLabelApp, image: str, result: Mapping[str, Any]) -> str:
    series = instance.datastore().get_image_uri(image).removesuffix(".nii.gz")
    written = write_segments(series, result["file"], result["params"]["label_names"])
    remove_file(result["file"])
    if not written:
        names = json.dumps(list(result["params"]["label_names"]))
        raise HTTPException(UNPROCESSABLE, f"nothing of {names} was found: DICOM SEG has no place for an empty mask")
    return written
