"""Trains nnU-Net cyclically in a process of its own, with a progress bar and TensorBoard in this one.

Everything of nnU-Net is kept: its planning, its augmentation, its loss, its DDP (``num_gpus``). A run that was stopped
at any moment goes on from its last whole epoch and ends with the same members.
"""

from __future__ import annotations

import csv
import os
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from tqdm import tqdm

from medclipsam_monai.base.devices import resolve_device
from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.base.files import FolderClaim
from medclipsam_monai.base.json_files import read_object, write_json
from medclipsam_monai.weak.folders import DATASET_NAME, FOLD, PLANS, TRAINER, WorkFolders
from medclipsam_monai.weak.nnunet.planning import check_planned, read_planned, write_cyclic
from medclipsam_monai.weak.nnunet.process import nnunet_environment, run_nnunet
from medclipsam_monai.weak.nnunet.schedule import CyclicSchedule

_ENTRY = "nnunetv2.run.run_training:run_training_entry"
_STARTED = "started_with.json"  # what was planned when the training began; members of two plans never mix
_MADE = ("checkpoint_*", "members.json", "progress.*", "debug.json", "training_log_*.txt", "*.part", _STARTED)


@dataclass(frozen=True)
class EpochFigures:
    """One row of progress.csv.

    Attributes:
        epoch: counted from 0.
        lr: learning rate.
        train_loss: mean over its iterations, Dice and cross-entropy.
        val_loss: the same over the validation batches.
        pseudo_dice: nnU-Net's estimate from validation patches, mean of the classes; NaN if none occurred.
        seconds: duration.
    """

    epoch: int
    lr: float
    train_loss: float
    val_loss: float
    pseudo_dice: float
    seconds: float


def read_progress(folders: WorkFolders) -> list[EpochFigures]:
    """The figures of the epochs done so far."""
    try:
        with folders.progress_csv.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    return [EpochFigures(int(row.pop("epoch")), **{key: float(value) for key, value in row.items()}) for row in rows]


def members_missing(folders: WorkFolders) -> list[str]:
    """Names of the checkpoints that a finished training has and this one has not.

    Raises:
        InputError: there is no training.
    """
    try:
        names = [f"checkpoint_epoch_{epoch:04d}.pth" for epoch in read_object(folders.members_json)["epochs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"no training in {folders.fold}: train first (members.json is read)") from error
    return [name for name in names if not (folders.fold / name).is_file()]


class NnUNetTraining:
    """nnU-Net's cyclic training of a planned work folder.

    Args:
        folders: of the run, planned by ``planning.plan`` before ``run``.
        max_epochs: another number of epochs than planned, rounded up to whole cycles; None for the plan's.
        device: "auto", "cpu", "mps", "cuda" or one GPU such as "cuda:1".
        num_gpus: more than 1 trains by nnU-Net's own DDP over that many GPUs.
        workers: augmentation processes; None for 0 on a CPU, where the members depend on the seed alone, and nnU-Net's
            usual number beside a GPU.
        resume: go on with a training that was stopped; False starts over.
        progress: show a progress bar.
        tensorboard: write the figures of each epoch for TensorBoard, if it is installed.
        train_handlers: attached to an Ignite engine that starts, completes epochs and completes as the training does,
            with an epoch's figures as its metrics; MONAI's ``--tracking mlflow`` adds its own here.
    """

    def __init__(
        self,
        folders: WorkFolders | str | Path,
        max_epochs: int | None = None,
        device: str | torch.device = "auto",
        num_gpus: int = 1,
        workers: int | None = None,
        resume: bool = True,
        progress: bool = True,
        tensorboard: bool = True,
        train_handlers: Sequence[Any] | None = None,
    ) -> None:
        self.folders = folders if isinstance(folders, WorkFolders) else WorkFolders(Path(folders))
        self.max_epochs = max_epochs
        self.device = resolve_device(device)
        self.num_gpus = num_gpus
        if workers is None:
            workers = 0 if self.device.type == "cpu" else min(12, os.cpu_count() or 1)
        self.workers = workers
        self.resume = resume
        self.progress = progress
        self.tensorboard = tensorboard
        self.train_handlers = train_handlers or ()

    def run(self) -> list[EpochFigures]:
        """Train to the end, or from where a stopped training was.

        Returns:
            The figures of every epoch.

        Raises:
            InputError: nothing is planned, another process trains there, the stopped training had other settings, the
                GPUs asked for are not there, or nnU-Net failed; then the last whole checkpoint is kept and a second run
                goes on from it.
        """
        with FolderClaim(self.folders.nnunet, "a training"):
            return self._run_alone()

    def _run_alone(self) -> list[EpochFigures]:
        planned = self._planned()
        self._check_gpus()
        if not self.resume:
            self._clear()
        started = self._check_started(planned)
        if not (self.folders.fold / "checkpoint_final.pth").is_file():
            write_json(planned, self.folders.fold / _STARTED)
            self._train(planned["cyclic"]["epochs"], started)
        missing = members_missing(self.folders)
        if missing:
            raise InputError(
                f"{', '.join(missing)} of the finished training in {self.folders.fold} is missing: put it back, or "
                "train again with resume=False"
            )
        return read_progress(self.folders)

    def _planned(self) -> dict[str, Any]:
        planned = read_planned(self.folders)
        if not planned:
            raise InputError(f"nothing is planned in {self.folders.preprocessed}, or half of it: plan first")
        check_planned(self.folders)
        cyclic = CyclicSchedule(**planned["cyclic"])
        if self.max_epochs is not None and self.max_epochs != cyclic.epochs:
            whole = -(-self.max_epochs // cyclic.cycles) * cyclic.cycles
            if whole != self.max_epochs:
                text = f"{whole} epochs, not {self.max_epochs}: a training has whole cycles, here {cyclic.cycles}"
                warnings.warn(text, InputWarning, stacklevel=3)
            write_cyclic(self.folders, replace(cyclic, epochs=whole), planned)
        return read_planned(self.folders)

    def _check_gpus(self) -> None:
        if self.num_gpus < 1:
            raise InputError(f"num_gpus must be 1 or more, got {self.num_gpus}")
        if self.num_gpus > 1 and self.device.type != "cuda":
            raise InputError(f"num_gpus={self.num_gpus} needs CUDA, the device is {self.device}; expected num_gpus=1")
        if self.num_gpus > 1 and self.num_gpus > torch.cuda.device_count():
            raise InputError(f"num_gpus must be at most the {torch.cuda.device_count()} GPUs here, got {self.num_gpus}")

    def _clear(self) -> None:
        """Remove what an earlier training made, and nothing else."""
        for pattern in _MADE:
            for path in self.folders.fold.glob(pattern):
                path.unlink()
        shutil.rmtree(self.folders.events, ignore_errors=True)

    def _check_started(self, planned: dict[str, Any]) -> bool:
        """Whether there is a training to go on with; one of other settings is refused."""
        fold = self.folders.fold
        if not any(fold.glob("checkpoint_*.pth")):
            self._clear()
            return False
        try:
            before = read_object(fold / _STARTED)
        except InputError:
            before = {}
        if before != planned:
            raise InputError(
                f"the training in {fold} began with other {_differing(before, planned)} than planned now: plan as "
                "then, take another work folder, or start over with resume=False"
            )
        return True

    def _train(self, epochs: int, started: bool) -> None:
        with _Progress(self.folders, epochs, self.progress, self.tensorboard, self.train_handlers) as shown:
            run_nnunet(
                _ENTRY,
                [
                    *(DATASET_NAME, self.folders.configuration, str(FOLD), "-tr", TRAINER, "-p", PLANS),
                    *("-device", self.device.type, "-num_gpus", str(self.num_gpus)),
                    *(["--c"] if started else []),
                ],
                nnunet_environment(self.folders, self.workers, self.device if self.num_gpus == 1 else None),
                self.folders.logs / "train.log",
                shown.update,
            )
            shown.update()


def _differing(before: Any, now: dict[str, Any]) -> str:
    """Which settings differ, in words."""
    if not isinstance(before, dict) or not isinstance(before.get("cyclic", {}), dict):
        return "settings"
    then, new = before.get("cyclic", {}), now["cyclic"]
    names = [f"{key} ({then.get(key)}, now {new[key]})" for key in new if then.get(key) != new[key]]
    names += [key for key in ("size", "configuration", "data") if before.get(key) != now[key]]
    return ", ".join(names)


class _Progress:
    """Turns new rows of progress.csv into a progress bar, TensorBoard's figures and an engine's epochs."""

    def __init__(
        self,
        folders: WorkFolders,
        epochs: int,
        progress: bool,
        tensorboard: bool,
        handlers: Sequence[Any],
    ) -> None:
        self.folders = folders
        self.done = len(read_progress(folders))
        self.changed = self._changed()
        self.bar = tqdm(total=epochs, initial=self.done, unit="epoch", desc="nnU-Net", disable=not progress)
        self.writer = _tensorboard_writer(folders.events, self.done) if tensorboard else None
        self.engine = Engine(lambda engine, batch: None)  # nothing runs in it: it tells the handlers what happened
        self.engine.state.max_epochs, self.engine.state.epoch = epochs, self.done
        for handler in handlers:
            handler.attach(self.engine)

    def __enter__(self) -> _Progress:
        self.engine.fire_event(Events.STARTED)
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure is None:
            self.engine.fire_event(Events.COMPLETED)
        self.bar.close()
        if self.writer is not None:
            self.writer.close()

    def update(self, _line: str = "") -> None:
        """Read the figures again if their file is another one than before."""
        changed = self._changed()
        if changed == self.changed:
            return
        self.changed = changed
        rows = read_progress(self.folders)
        for row in rows[self.done :]:
            self._show(row)
        self.done = max(self.done, len(rows))

    def _changed(self) -> tuple[int, int]:
        try:
            stat = self.folders.progress_csv.stat()
        except OSError:
            return (0, 0)
        return (stat.st_ino, stat.st_mtime_ns)

    def _show(self, row: EpochFigures) -> None:
        self.bar.set_postfix(loss=f"{row.train_loss:.3f}", dice=f"{row.pseudo_dice:.3f}", lr=f"{row.lr:.4f}")
        self.bar.update()
        if self.writer is not None:
            self.writer.add_scalar("learning_rate", row.lr, row.epoch)
            self.writer.add_scalar("loss/train", row.train_loss, row.epoch)
            self.writer.add_scalar("loss/validation", row.val_loss, row.epoch)
            self.writer.add_scalar("pseudo_dice", row.pseudo_dice, row.epoch)
            self.writer.flush()
        self.engine.state.epoch = row.epoch + 1
        self.engine.state.metrics = {name: value for name, value in asdict(row).items() if name != "epoch"}
        self.engine.fire_event(Events.EPOCH_COMPLETED)


def _tensorboard_writer(folder: Path, first: int) -> Any:
    """A writer, or None where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=first or None)
