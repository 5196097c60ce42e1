"""Checkpoints of a training: last.pt to go on from exactly, model.pt with the best weights.

Everything random is seeded by the epoch (`SeedEpochs`), so weights, optimiser, schedule and counters are the whole
state, and a resumed run gives the weights of an uninterrupted one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import FolderClaim, write_atomically
from medclipsam_monai.finetune.lora import merged_state_dict
from medclipsam_monai.finetune.network import unwrapped
from medclipsam_monai.losses.distributed import rank
from medclipsam_monai.weights.bundles import log_weights
from medclipsam_monai.weights.state_dicts import load_exactly, plain_state_dict
from medclipsam_monai.weights.tensor_files import read_torch_file

_log = logging.getLogger(__name__)
LAST, BEST = "last.pt", "model.pt"
_ANEW = "delete it to start anew"
_STATE: tuple[tuple[str, Any], ...] = (
    ("network", Mapping),
    ("objects", Mapping),
    ("scaler", Mapping),
    ("epoch", int),
    ("iteration", int),
    ("best_metric", (int, float)),
    ("best_metric_epoch", int),
)


class TrainingCheckpoint:
    """An Ignite handler that saves after every epoch and, at the start, goes on from what is there.

    Put it first among the trainer's handlers: it loads before any other handler runs at the start, and saves after all
    others at the end of an epoch. Both files appear whole or not at all, so a full disk leaves the last good ones. A
    folder in which another process trains is refused.

    Args:
        folder: for last.pt and model.pt.
        network: what is trained; its plain weights, LoRA merged, are model.pt: one state dict.
        evaluator: whose best metric decides what is best; without one, the last epoch is.
        objects: what else has a state to go on from, by name, such as the optimiser and the schedule.
        resume: go on from last.pt if it is there.
    """

    def __init__(
        self,
        folder: str | Path,
        network: nn.Module,
        evaluator: Engine | None = None,
        objects: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.network = unwrapped(network)
        self.evaluator: Any = evaluator
        self.objects = dict(objects or {})
        self.resume = resume
        self._claim = FolderClaim(self.folder, "a training")

    def attach(self, engine: Engine) -> None:
        """Load at the start, save at the end of each epoch."""
        engine.add_event_handler(Events.STARTED, self._start)

    def _start(self, engine: Any) -> None:
        if rank() == 0:
            self._claim.take()
        if self.resume and (self.folder / LAST).is_file():
            self.load(engine)
        elif rank() == 0:
            source = getattr(self.network, "source", None)
            if source is not None:
                log_weights(_log, {"the CLIP that training starts from": source})
            engine.add_event_handler(Events.ITERATION_STARTED(once=1), self._write_first)
        # Added only now, it runs after the handlers of the same event that the configuration lists after this one.
        if not engine.has_event_handler(self.save, Events.EPOCH_COMPLETED):
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)
            engine.add_event_handler(Events.COMPLETED, self._claim.give_back)

    def _write_first(self) -> None:
        """The best so far is what training starts from; an older run's model.pt must not be taken for this one's.

        It stays until the first step, though: what is refused before, say in the first validation, loses nothing.
        """
        _write(_plain_weights(self.network), self.folder / BEST)

    def save(self, engine: Any) -> None:
        """Write last.pt, and model.pt if this epoch is the best so far.

        Raises:
            InputError: if a file cannot be written.
        """
        if rank():
            return
        if self.evaluator is None or self.evaluator.state.best_metric_epoch == engine.state.epoch:
            _write(_plain_weights(self.network), self.folder / BEST)
        _write(self._state(engine), self.folder / LAST)

    def _state(self, engine: Any) -> dict[str, Any]:
        best = getattr(self.evaluator, "state", None)
        return {
            "network": self.network.state_dict(),
            "objects": {name: item.state_dict() for name, item in self.objects.items()},
            "scaler": engine.scaler.state_dict() if engine.scaler is not None else {},
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
            "best_metric": getattr(best, "best_metric", -1),
            "best_metric_epoch": getattr(best, "best_metric_epoch", -1),
        }

    def load(self, engine: Any) -> None:
        """Take up where last.pt ends.

        Raises:
            InputError: if it is damaged, of another architecture, or of a run with other parts or a longer one.
        """
        path = self.folder / LAST
        state = _read(path, *_STATE)
        load_exactly(self.network, plain_state_dict(state["network"], str(path)), str(path))
        if set(state["objects"]) != set(self.objects):
            raise InputError(f"{path} holds {sorted(state['objects'])}, this training has {sorted(self.objects)}")
        if state["epoch"] > engine.state.max_epochs:
            raise InputError(
                f"{path} is {state['epoch']} epochs in, and max_epochs is {engine.state.max_epochs}; raise it to go on"
            )
        for name, item in self.objects.items():
            try:
                item.load_state_dict(state["objects"][name])
            except (ValueError, KeyError, RuntimeError, TypeError, AttributeError, IndexError) as error:
                raise InputError(f"{path} is of a training with another {name}: {error}") from error
        if engine.scaler is not None and state["scaler"]:
            engine.scaler.load_state_dict(state["scaler"])
        engine.state.epoch, engine.state.iteration = state["epoch"], state["iteration"]
        if self.evaluator is not None:
            self.evaluator.state.best_metric = state["best_metric"]
            self.evaluator.state.best_metric_epoch = state["best_metric_epoch"]
        _log.info("going on from %s after epoch %d", path.name, state["epoch"])


def load_best(network: nn.Module, path: str | Path) -> bool:
    """Load model.pt into a network without LoRA.

    Args:
        network: changed in place.
        path: of model.pt.

    Returns:
        Whether the file is there; if not, the network stays as it is.

    Raises:
        InputError: if it is damaged or of another architecture.
    """
    if not Path(path).is_file():
        return False
    content = read_torch_file(Path(path), "checkpoint of this training", _ANEW)
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):  # as earlier versions wrote it
        content = content["model"]
    load_exactly(unwrapped(network), plain_state_dict(content, str(path)), str(path))
    return True


def _plain_weights(network: Any) -> dict[str, Any]:
    return {name: value.detach().cpu() for name, value in merged_state_dict(network).items()}


def _write(content: Any, path: Path) -> None:
    def save(part: Path) -> None:
        try:
            torch.save(content, part)
        except RuntimeError as error:  # torch's own writer does not raise OSError, not even on a full disk
            raise OSError(str(error).splitlines()[0]) from error

    write_atomically(path, save)


def _read(path: Path, *kinds: tuple[str, Any]) -> dict[str, Any]:
    """A checkpoint's content, known to hold entries of these names and kinds."""
    content = read_torch_file(path, "checkpoint of this training", _ANEW)
    if not isinstance(content, dict) or not all(isinstance(content.get(name), kind) for name, kind in kinds):
        raise InputError(f"{path} is not a checkpoint of this training; {_ANEW}")
    return content
