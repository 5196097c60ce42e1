"""Ignite handlers of a fine-tuning: seeds by epoch, a first validation, early stopping, history and plot, export."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from torch import nn

from medclipsam_monai.base.json_files import write_json
from medclipsam_monai.finetune.checkpoint import BEST, load_best
from medclipsam_monai.finetune.network import ContrastiveCLIP, save_clip_folder, unwrapped
from medclipsam_monai.finetune.plots import plot_history
from medclipsam_monai.losses.distributed import rank
from medclipsam_monai.weights.clip_folder import check_replaceable

_log = logging.getLogger(__name__)


class SeedEpochs:
    """Seed torch at the start of each epoch by the seed, the epoch and the rank; nothing else here is random.

    Args:
        seed: of the run.
        followers: what has `set_epoch`, such as the sampler and the data set.
    """

    def __init__(self, seed: int, followers: Iterable[Any] = ()) -> None:
        self.seed = seed
        self.followers = list(followers)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        value = int(np.random.SeedSequence((self.seed, engine.state.epoch, rank())).generate_state(1)[0])
        torch.manual_seed(value)
        for follower in self.followers:
            follower.set_epoch(engine.state.epoch)


class ValidateFirst:
    """Validate before the first epoch, so that training is measured against what it started from.

    Args:
        evaluator: its best metric is then that of epoch 0.
    """

    def __init__(self, evaluator: Any) -> None:
        self.evaluator = evaluator

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        if engine.state.epoch == 0:
            self.evaluator.run(1)
            self.evaluator.state.epoch = self.evaluator.state.best_metric_epoch = 0


class EarlyStopping:
    """Stop when the best metric is so many epochs old. Keeps nothing of its own, so a resumed run stops the same.

    Args:
        evaluator: whose best metric counts.
        patience: epochs without a better one; 0 never stops.
    """

    def __init__(self, evaluator: Any, patience: int) -> None:
        if patience < 0:
            raise ValueError(f"patience must be 0 or more, got {patience}")
        self.evaluator = evaluator
        self.patience = patience

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        age = engine.state.epoch - self.evaluator.state.best_metric_epoch
        if self.patience and age >= self.patience:
            _log.info("no better %s for %d epochs: stopping", self.evaluator.state.key_metric_name, age)
            engine.terminate()


class Progress:
    """A progress bar with the loss."""

    def attach(self, engine: Engine) -> None:
        ProgressBar(persist=True).attach(engine, output_transform=lambda output: {"loss": output[0]["loss"]})


class History:
    """Mean loss and validation metrics of each epoch, as history.json and training.png in a folder.

    Args:
        folder: for both files.
        evaluator: whose metrics are kept.
    """

    def __init__(self, folder: str | Path, evaluator: Any) -> None:
        self.folder = Path(folder)
        self.evaluator = evaluator
        self.rows: list[dict[str, float]] = []
        self._losses: list[float] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._first)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._row)
        engine.add_event_handler(Events.COMPLETED, self.write)

    def _first(self, engine: Engine) -> None:
        self._losses = []
        if engine.state.epoch == 0:
            self.rows = [{"epoch": 0, **self.evaluator.state.metrics}]

    def _collect(self, engine: Any) -> None:
        self._losses.append(engine.state.output[0]["loss"])

    def _row(self, engine: Engine) -> None:
        loss = sum(self._losses) / len(self._losses)
        validated = self.evaluator.state.epoch == engine.state.epoch
        metrics = self.evaluator.state.metrics if validated else {}
        self.rows.append({"epoch": engine.state.epoch, "loss": loss, **metrics})
        self._losses = []

    def write(self, engine: Engine) -> None:
        """Write both files."""
        if rank() == 0:
            write_json({"epochs": self.rows}, self.folder / "history.json")
            plot_history(self.rows, self.folder / "training.png", self.evaluator.state.key_metric_name)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows = state["rows"]


class ExportClip:
    """At the end, write the best weights as a folder that `medclipsam segment --clip` and the other bundle take.

    Args:
        network: what was trained.
        checkpoints: folder with model.pt.
        folder: where open_clip's local-dir form goes.
        transformers_folder: where the transformers port's layout goes, if it is wanted.
        loss: whose learned temperature becomes the logit scale.
    """

    def __init__(
        self,
        network: nn.Module,
        checkpoints: str | Path,
        folder: str | Path,
        transformers_folder: str | Path | None = None,
        loss: nn.Module | None = None,
    ) -> None:
        self.network: ContrastiveCLIP = unwrapped(network)
        self.checkpoints = Path(checkpoints)
        self.folder = Path(folder)
        self.transformers_folder = transformers_folder
        self.loss = loss

    def attach(self, engine: Engine) -> None:
        """Look at the folders before hours of training end at their doors.

        Raises:
            InputError: one holds what is no part of a CLIP.
        """
        for folder in (self.folder, self.transformers_folder):
            if folder is not None:
                check_replaceable(Path(folder).expanduser())
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        if rank():
            return
        best = ContrastiveCLIP(self.network.source, self.network.preprocess.fit)
        load_best(best, self.checkpoints / BEST)
        tau = getattr(self.loss, "log_temperature", None)
        save_clip_folder(
            best, self.folder, None if tau is None else float(tau.detach().exp()), self.transformers_folder
        )
        _log.info("fine-tuned CLIP: %s", self.folder)
