"""The app's training task: MONAI Label runs it in a process of its own, shows what it prints, kills it on cancel."""

from __future__ import annotations

import _thread
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object, write_json
from medclipsam_monai.io import SLICE_AXES
from medclipsam_monai.label.http_errors import without_folders
from medclipsam_monai.label.models import ServedModels
from medclipsam_monai.label.options import (
    choice_option,
    option,
    preset_choices,
    read_text_options,
    refuse_unknown,
    text_config,
    whole_option,
)
from medclipsam_monai.label.tasks.submitted import submitted_labels
from medclipsam_monai.label.tasks.training_run import TrainingSettings, train_ensemble
from medclipsam_monai.presets import DEFAULT_PRESET
from medclipsam_monai.weak.folders import CONFIGURATIONS, WorkFolders
from medclipsam_monai.weak.nnunet.planning import SIZES
from medclipsam_monai.weak.nnunet.schedule import CyclicSchedule
from medclipsam_monai.weak.nnunet.training import EpochFigures

_PARENT_SECONDS = 1.0
_CYCLES, _PER_CYCLE, _VALIDATION_ITERATIONS = 3, 3, 4  # of the bundle medclipsam_weak_segmentation


class WeakTraining(TrainTask):
    """Trains the ensemble on the submitted labels, and on gated pseudo-labels for the rest.

    Args:
        models: the networks; the new ensemble is served by them.
        folder: work folder, kept between trainings.
        text: what a client shows as the text before its user changes it.
        preset: the preset a client shows first.
    """

    def __init__(
        self, models: ServedModels, folder: str | Path, text: str = "lungs", preset: str = DEFAULT_PRESET
    ) -> None:
        super().__init__("nnU-Net ensemble from submitted labels and gated pseudo-labels")
        self.models = models
        self.folders = WorkFolders(Path(folder))
        self._config = training_config(text, preset)

    def config(self) -> dict[str, Any]:
        """The options with their defaults; a list is a choice."""
        return self._config

    def stats(self) -> dict[str, Any]:
        """Epochs done of all, loss and DSC of the last training, running or not; empty before the first."""
        try:
            return read_object(self._stats_file)
        except InputError:
            return {}

    @property
    def _stats_file(self) -> Path:
        return self.folders.root / "stats.json"

    def check(self, request: Mapping[str, Any]) -> None:
        """The options of a training, before it is queued; its classes are listed from now on.

        Raises:
            InputError: one that cannot be used.
        """
        self.models.classes.numbers(self._settings(request).targets)

    def _settings(self, request: Mapping[str, Any]) -> TrainingSettings:
        """The settings that a request asks for, its classes under the names that they are served by."""
        own = {name: value for name, value in request.items() if not isinstance(value, Mapping) or name == "text"}
        settings = read_training(own, self.config())
        return replace(settings, targets=self.models.classes.served(settings.targets))

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train; see `train_ensemble`.

        Returns:
            Counts of labels and the figures of the last epoch.

        Raises:
            InputError: see `train_ensemble`, and for an option that cannot be used.
        """
        settings = self._settings(request)
        start = time.time()
        shown = _EachEpoch(lambda figures: self._show(figures, settings.cyclic.epochs, start))
        outcome = train_ensemble(
            self.models,
            self.folders,
            [uri for image in datastore.list_images() if (uri := datastore.get_image_uri(image))],
            submitted_labels(datastore),
            settings,
            notify=lambda kind, message: print(f"pseudo-label {kind}: {without_folders(message)}", flush=True),
            train_handlers=[shown],
        )
        last = outcome.figures[-1]
        self._show(last, settings.cyclic.epochs, start, finished=True)
        return {
            "given": outcome.given,
            "pseudo": outcome.pseudo,
            "dropped": outcome.dropped,
            "epochs": len(outcome.figures),
            "train_loss": last.train_loss,
            "seconds": round(time.time() - start, 1),
        }

    def _show(self, figures: EpochFigures, epochs: int, start: float, finished: bool = False) -> None:
        """For the server's progress: a line, and the file that `stats` reads."""
        dice = figures.pseudo_dice if figures.pseudo_dice == figures.pseudo_dice else None  # NaN is no JSON
        stats = {
            "epoch": figures.epoch + 1,
            "total_epochs": epochs,
            "train_loss": figures.train_loss,
            "best_metric": dice,
            "total_time": round(time.time() - start, 1),
            "finished": finished,
        }
        write_json(stats, self._stats_file)
        print(json.dumps(stats), flush=True)


class _EachEpoch:
    """Calls a function with the figures of each finished epoch; a handler in Ignite's way."""

    def __init__(self, show: Callable[[EpochFigures], None]) -> None:
        self._show = show

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_completed)

    def _epoch_completed(self, engine: Engine) -> None:
        self._show(EpochFigures(engine.state.epoch - 1, **engine.state.metrics))


def training_config(text: str, preset: str) -> dict[str, Any]:
    """The options of a training that a client shows, with their defaults."""
    shown = text_config(text, preset_choices(preset))
    return {
        **{name: shown[name] for name in ("text", "opposites", "preset", "window")},
        "slice_axis": list(SLICE_AXES),
        "network_size": ["small", *(name for name in SIZES if name != "small")],
        "configuration": list(CONFIGURATIONS),
        "max_epochs": 30,
        "iterations": 20,
        "label_weight": 4,
        "patient": "",
        "seed": 0,
    }


def read_training(request: Mapping[str, Any], config: Mapping[str, Any]) -> TrainingSettings:
    """The settings that a request asks for.

    Raises:
        InputError: a value that cannot be used.
    """

    def whole(name: str, low: int, high: int) -> int:
        return whole_option(request, name, config[name], low, high)

    refuse_unknown(request, config)
    defaults = {"method": ["preset"], "threshold": 0.5, "largest_component": False, "examples": False}
    chosen = {name: request[name] for name in config if name in request}
    text = read_text_options(chosen, {**config, **defaults})
    epochs = whole("max_epochs", _CYCLES, 100_000)
    epochs -= epochs % _CYCLES
    return TrainingSettings(
        targets=text.targets,
        preset=text.preset,
        window=text.window,
        slice_axis=text.slice_axis,
        network_size=choice_option(request, "network_size", config["network_size"]),
        configuration=choice_option(request, "configuration", config["configuration"]),
        cyclic=CyclicSchedule(
            epochs=epochs,
            cycles=_CYCLES,
            per_cycle=min(_PER_CYCLE, epochs // _CYCLES),
            iterations=whole("iterations", 1, 10_000),
            validation_iterations=_VALIDATION_ITERATIONS,
            seed=whole("seed", 0, 2**31),
        ),
        label_weight=whole("label_weight", 1, 1000),
        patient=str(option(request, "patient", "")) or None,
    )


def stop_with_parent() -> None:
    """End this process when the one that started it has ended, so that a killed server leaves no training behind."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_SECONDS)
        _thread.interrupt_main()

    threading.Thread(target=watch, daemon=True).start()
