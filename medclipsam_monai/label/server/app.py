"""The MONAI Label app, put together from task configurations; the folder that `write_app_folder` makes only names it.

Settings are MONAI Label's ``--conf NAME VALUE``, see `CONFIG_DEFAULTS`.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.config import settings as server_settings
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.config import TaskConfig
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask

from medclipsam_monai.base.checked_fields import shown
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.label.http_errors import NOT_FOUND, UNPROCESSABLE, check_forms, exit_with_line, http_errors
from medclipsam_monai.label.models import ServedModels
from medclipsam_monai.label.options import split_texts, whole_option
from medclipsam_monai.label.served_classes import ServedClasses
from medclipsam_monai.label.server import routes, task_routes
from medclipsam_monai.label.server.datastore import CheckedDatastore
from medclipsam_monai.label.server.detached import refuse_detached
from medclipsam_monai.label.server.dicomweb import CheckedDicomweb
from medclipsam_monai.label.server.sessions import CheckedSessions
from medclipsam_monai.label.server.uploads import Uploads
from medclipsam_monai.label.tasks.submitted import submitted_labels
from medclipsam_monai.label.tasks.train_task import stop_with_parent
from medclipsam_monai.label.tasks.weak_task import NOT_TRAINED
from medclipsam_monai.label.warm import warm_up
from medclipsam_monai.presets import DEFAULT_PRESET, load_preset
from medclipsam_monai.prompts import parse_targets
from medclipsam_monai.version import __version__

CONFIG_DEFAULTS = {
    "text": "lungs",
    "preset": DEFAULT_PRESET,
    "device": "auto",
    "cache_mb": "512",
    "image_mb": "1024",
    "ensemble": "",
    "examples": "",
}
logger = logging.getLogger(__name__)
_DCMQI = "itkimage2segimage"


class TextLabelApp(MONAILabelApp):
    """Annotate by text, correct, retrain, and be asked for the most useful image next.

    Args:
        app_dir: the app's folder; models and work lie in its folder ``model``.
        studies: folder of images, or the address of a DICOMweb server.
        conf: see the module.
        configs: the app's tasks, by name.

    Raises:
        InputError: a setting that cannot be used.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str], configs: dict[str, TaskConfig]) -> None:
        check_forms()
        task_routes.install()
        routes.install()
        self.uploads = Uploads()
        settings = {**CONFIG_DEFAULTS, **conf}
        load_preset(settings["preset"])
        folder = Path(app_dir) / "model"
        cache, images = (whole_option(settings, name, 0, 0, 1_000_000) * 1024**2 for name in ("cache_mb", "image_mb"))
        classes = ServedClasses(parse_targets(split_texts(settings["text"])), folder / "classes.json")
        self.served = ServedModels(folder, settings["device"], cache, images, classes)
        self.served.examples.use(settings["examples"])
        self.served.examples.labelled = lambda: submitted_labels(self.datastore())
        if settings["ensemble"] and not self.served.ensemble_file.is_file():
            self.served.replace(settings["ensemble"])
        self.configs = configs
        for name, config in configs.items():
            config.init(name, str(self.served.folder), settings, None, models=self.served)
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="MedCLIP-SAM",
            description="Annotate by text, most uncertain first. For research, not for diagnosis.",
            version=__version__,
        )

    def init_infers(self) -> dict[str, InferTask]:
        """The inference tasks of all configurations."""
        return _gathered((name, config.infer()) for name, config in self.configs.items())

    def init_trainers(self) -> dict[str, TrainTask]:
        """The training tasks of all configurations."""
        return _gathered((name, config.trainer()) for name, config in self.configs.items())

    def init_strategies(self) -> dict[str, Strategy]:
        """MONAI Label's own strategy "random", and those of all configurations."""
        own = _gathered((name, config.strategy()) for name, config in self.configs.items())
        return {**super().init_strategies(), **own}

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        """The scoring methods of all configurations."""
        return _gathered((name, config.scoring_method()) for name, config in self.configs.items())

    def init_datastore(self) -> Datastore:
        """A folder, or a DICOMweb archive, with checks on what comes in."""
        if self.studies.startswith(("http://", "https://")):
            found = super().init_datastore()
            if not isinstance(found, DICOMWebDatastore):
                return found
            # an archive that is down is said after a second; by default the client asks for half a minute
            found._client.set_http_retry_params(max_attempts=3, wait_exponential_multiplier=200)
            return CheckedDicomweb.of(found, self.served.classes)
        return CheckedDatastore(self.studies, classes=self.served.classes)

    def server_mode(self, mode: bool) -> None:
        """As MONAI Label's, which calls it when the server starts, before it listens.

        From then on uploads go to a folder of their own, and the classes are those of the server's text and labels.
        """
        super().server_mode(mode)
        if mode:
            self.uploads.receive()
            routes.renew_on_reload()
            self.served.classes.restart()
            for name in ("text", "weak"):
                if name in self._infers and self._infers[name].is_valid():
                    warm_up(self._infers[name])

    def _load_sessions(self, load: bool = False) -> CheckedSessions | None:
        if not load:
            return None
        return CheckedSessions(server_settings.MONAI_LABEL_SESSION_PATH, server_settings.MONAI_LABEL_SESSION_EXPIRY)

    def info(self) -> dict[str, Any]:
        """As MONAI Label's.

        Raises:
            HTTPException: 502 where the archive does not answer.
        """
        with http_errors():
            found: dict[str, Any] = super().info()
        return found

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """As MONAI Label's.

        Raises:
            HTTPException: 404 for an unknown model or image, 422 for what the task cannot use.
        """
        self.known("model", request.get("model"), self._infers)
        store = datastore or self.datastore()
        image = str(request.get("image"))
        path, name = image, "the uploaded image"
        if os.path.exists(image):
            self._check_upload(image, request.get("session"))
        elif isinstance(store, CheckedDatastore):
            path, name = store.known_image(image), f"image {image}"
        with http_errors():
            try:
                if os.path.exists(path):
                    refuse_detached(path)
                result: dict[str, Any] = super().infer({**request, "image": image}, datastore)
            except InputError as error:  # where the server keeps its files is nothing to a client
                raise InputError(str(error).replace(path, name)) from error
        return result

    def infer_wsi(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """There are no models of whole slides.

        Raises:
            HTTPException: 422, always.
        """
        raise HTTPException(UNPROCESSABLE, "there is no model of whole slides here; ask /infer with a picture")

    def _check_upload(self, path: str, session: Any) -> None:
        """MONAI Label hands on uploads and sessions by their paths: no other file of this machine is a client's."""
        sessions, name = self.sessions(), session.get("name") if isinstance(session, dict) else None
        known = sessions.get_session(name, update_ts=False) if sessions is not None and name else None
        if not self.uploads.holds(path) and not (known and known.image == path):
            raise HTTPException(NOT_FOUND, f"there is no image {shown(path)}: name one of the datastore, or upload it")

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """The image that the strategy chooses, and its path; nothing where all are labelled.

        MONAI Label's own would also score the whole datastore anew, in new processes, whenever somebody asks.

        Raises:
            HTTPException: 404 for an unknown strategy, 422 where no image can be read.
        """
        self.known("strategy", request.get("strategy"), self._strategies)
        with http_errors():
            sample: dict[str, Any] | None = self._strategies[request["strategy"]](request, self.datastore())
        return {**sample, "path": self.datastore().get_image_uri(sample["id"])} if sample else {}

    def scoring(self, request: dict[str, Any], datastore: Datastore | None = None) -> Any:
        """As MONAI Label's; a mistake of the user ends the process of the scoring with its one line."""
        with self._one_line():
            return super().scoring(request, datastore)

    def train(self, request: dict[str, Any]) -> Any:
        """As MONAI Label's; a mistake of the user ends the process of the training with its one line."""
        if not self._server_mode:
            stop_with_parent()
        with self._one_line():
            return super().train(request)

    def batch_infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> Any:
        """As MONAI Label's, but an image that cannot be segmented does not end the batch: its answer is why."""

        def infer(asked: dict[str, Any], store: Datastore) -> dict[str, Any]:
            try:
                return self.infer(asked, store)
            except HTTPException as error:
                print(f"image {asked['image']}: {error.detail}", flush=True)
                return {"error": error.detail}

        # The tasks have one device, that of the server; MONAI Label's own choice divides by the number of GPUs.
        asked = {**request, "multi_gpu": False, "device": str(self.served.device)}
        return self._batch_infer(asked, datastore or self.datastore(), infer)

    def model_file(self, model: str, validate: bool = True) -> str:
        """The file of a task that is a trained one; the others are made of their preset's weights.

        Raises:
            HTTPException: 404 for a task that is unknown, has no file or, with ``validate``, was not trained yet.
        """
        self.known("model", model, self._infers)
        if model != "weak":
            raise HTTPException(NOT_FOUND, f"model {model} has no file of its own: it is made of its preset's weights")
        if validate and not self.served.ensemble_file.is_file():
            raise HTTPException(NOT_FOUND, NOT_TRAINED)
        return str(self.served.ensemble_file)

    def async_scoring(self, method: str | None, params: Any = None) -> Any:
        """As MONAI Label's.

        Raises:
            HTTPException: 404 for an unknown method.
        """
        if method:
            self.known("scoring method", method, self._scoring_methods)
            return super().async_scoring(method, params)
        try:  # all of them, as after the start: an archive that is down then may be there when it is asked
            return super().async_scoring(None, params)
        except HTTPException as error:
            logger.warning("nothing is scored: %s", error.detail)
            return {}

    def bundle_path(self, model: str | None) -> None:
        """There are no bundles here; MONAI Label asks before it starts a task, so unknown models end here.

        Raises:
            HTTPException: 404 for an unknown model.
        """
        if model is not None:
            self.known("model", model, {**self._infers, **self._trainers})

    def known(self, what: str, name: Any, table: dict[str, Any]) -> None:
        """Raises an HTTPException, 404, for a name that is none of the table's."""
        if not isinstance(name, str) or name not in table:
            raise HTTPException(NOT_FOUND, f"there is no {what} {shown(name)}; expected one of {', '.join(table)}")

    def _one_line(self) -> Any:
        return http_errors() if self._server_mode else exit_with_line()

    def _download_dcmqi_tools(self) -> None:
        """Find dcmqi, which writes DICOM SEG, instead of downloading it.

        Raises:
            InputError: it is not installed.
        """
        beside = Path(sys.executable).parent
        if shutil.which(_DCMQI) is None and shutil.which(_DCMQI, path=str(beside)) is not None:
            os.environ["PATH"] += os.pathsep + str(beside)
        if shutil.which(_DCMQI) is None:
            raise InputError(f"{_DCMQI} of dcmqi is not on the path, DICOMweb needs it: pip install dcmqi")


def _gathered(found: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Tasks by name; a configuration has none, one under its own name, or several."""
    tasks: dict[str, Any] = {}
    for name, task in found:
        tasks.update(task if isinstance(task, dict) else {} if task is None else {name: task})
    return tasks
