"""nnU-Net with a cyclic learning rate that keeps checkpoints of every cycle as the members of an ensemble.

One file for an unmodified nnU-Net 2.8: point its environment variable ``nnUNet_extTrainer`` at this directory and train
with ``-tr nnUNetTrainerCyclic``. Planning, augmentation, loss and DDP are nnU-Net's own. The settings are read from the
plans, key "cyclic", so they travel with plans.json and with every checkpoint; a key that is missing has the value of
MedCLIP-SAMv2 (arXiv 2409.19483). The method is that of "Efficient Bayesian uncertainty estimation for nnU-Net" (MICCAI
2022). Every file appears whole or not at all, so a run that was killed goes on with nnU-Net's ``--c``.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

DEFAULTS: dict[str, Any] = {
    "epochs": 600,
    "cycles": 3,
    "gamma": 0.8,
    "per_cycle": 10,
    "rule": "late",
    "iterations": 250,
    "validation_iterations": 50,
    "initial_lr": 0.01,
    "final_validation": False,
    "seed": 0,
}
SPARSE = 7  # members of a cycle under the rule "sparse"
_EXPONENT = 0.9
_PLOT_SECONDS = 60  # nnU-Net's progress.png takes longer to draw than a short epoch to train
_COLUMNS = ("epoch", "lr", "train_loss", "val_loss", "pseudo_dice", "seconds")


def learning_rate(epoch: int, epochs: int, cycles: int, gamma: float, initial_lr: float) -> float:
    r"""The rate of an epoch.

    With :math:`T` epochs in all, :math:`T_c = T / C` in a cycle and :math:`t_c = t \bmod T_c`, it is
    :math:`\eta_0` at :math:`t_c = 0`, else :math:`\eta_0 (1 - \min(t_c, \lfloor \gamma T_c \rfloor) / T)^{0.9}`.

    Args:
        epoch: t, counted from 0.
        epochs: T.
        cycles: C; divides T.
        gamma: the rate stays constant after this part of a cycle.
        initial_lr: eta_0.
    """
    length = epochs // cycles
    within = epoch % length
    hold = math.floor(gamma * length + 1e-9)  # 0.29 * 100 is a little less than 29
    return float(initial_lr * (1 - min(within, hold) / epochs) ** _EXPONENT)


def member_epochs(epochs: int, cycles: int, per_cycle: int, rule: str) -> list[int]:
    """The epochs, counted from 0, after which the weights are kept.

    Args:
        epochs: all epochs.
        cycles: number of cycles; divides ``epochs``.
        per_cycle: members of a cycle under the rule "late".
        rule: "late" keeps the last ``per_cycle`` epochs of a cycle; "sparse" keeps 7 that lie evenly from the middle
            of the cycle to its last epoch; "both" keeps both.
    """
    length = epochs // cycles
    late = set(range(length - per_cycle, length))
    sparse = {round(epoch) for epoch in np.linspace(length // 2, length - 1, SPARSE)}
    kept = {"late": late, "sparse": sparse, "both": late | sparse}[rule]
    return [cycle * length + epoch for cycle in range(cycles) for epoch in sorted(kept)]


def _numbers() -> list[Any]:
    """What NumPy's numbers are pickled by."""
    kinds = ("bool", "int32", "int64", "float16", "float32", "float64")
    return [np.float64(0).__reduce__()[0], np.dtype, *(type(np.dtype(kind)) for kind in kinds)]


def replace_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let ``write`` fill a file beside ``path``, then rename it; an older ``path`` survives a failure whole.

    Raises:
        OSError: the file cannot be written, as on a full disk; one line.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            write(file)
        os.replace(part, path)
    except (OSError, RuntimeError) as error:
        # torch hides what the disk said behind a RuntimeError of its own
        said = error if isinstance(error, OSError) else error.__context__
        if not isinstance(said, OSError):
            raise
        raise OSError(f"cannot save {path.name}: {said.strerror}; what was saved before is whole") from error
    finally:
        part.unlink(missing_ok=True)


class CyclicLR(PolyLRScheduler):
    """Sets ``learning_rate`` of the epoch it is told."""

    def __init__(self, optimizer: torch.optim.Optimizer, rate: Callable[[int], float]) -> None:
        self.rate = rate
        super().__init__(optimizer, rate(0), max_steps=1)

    def step(self, current_step: int | None = None) -> None:
        rate = self.rate(current_step or 0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._last_lr = [rate] * len(self.optimizer.param_groups)


class nnUNetTrainerCyclic(nnUNetTrainer):
    """See the module. nnU-Net finds the class by this name and asks for exactly this constructor."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008 (nnU-Net's own signature)
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.cyclic: dict[str, Any] = {**DEFAULTS, **plans.get("cyclic", {})}
        self.num_epochs = self.cyclic["epochs"]
        self.num_iterations_per_epoch = self.cyclic["iterations"]
        self.num_val_iterations_per_epoch = self.cyclic["validation_iterations"]
        self.initial_lr = self.cyclic["initial_lr"]
        self.save_every = 1  # a killed run loses one epoch
        self.member_epochs = member_epochs(*(self.cyclic[key] for key in ("epochs", "cycles", "per_cycle", "rule")))
        self._plotted = -math.inf
        self._plot = self.logger.plot_progress_png
        self.logger.plot_progress_png = self._plot_now_and_then
        self._seed(0)

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, CyclicLR]:
        optimizer, _ = super().configure_optimizers()
        keys = ("epochs", "cycles", "gamma", "initial_lr")
        return optimizer, CyclicLR(optimizer, lambda epoch: learning_rate(epoch, *(self.cyclic[key] for key in keys)))

    def on_train_start(self) -> None:
        super().on_train_start()
        if self.local_rank == 0:
            for part in self._folder.glob("*.part"):  # of a run that was killed while saving
                part.unlink()
            self._write_members(self.current_epoch - 1)

    def on_epoch_start(self) -> None:
        self._seed(1 + self.current_epoch)
        super().on_epoch_start()

    def on_epoch_end(self) -> None:
        epoch = self.current_epoch
        if self.local_rank == 0 and epoch in self.member_epochs:  # before nnU-Net notes the epoch as done
            self._save_member(epoch)
        super().on_epoch_end()
        if self.local_rank == 0:
            self._write_progress()

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        if self.cyclic["final_validation"]:  # the ensemble is what counts, not the last checkpoint alone
            super().perform_actual_validation(save_probabilities)

    def save_checkpoint(self, filename: str) -> None:
        """As nnU-Net's, but the file appears whole or not at all."""
        if self.local_rank == 0 and not self.disable_checkpointing:
            replace_whole(Path(filename), lambda file: super(nnUNetTrainerCyclic, self).save_checkpoint(file))

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """As nnU-Net's; with TORCH_FORCE_WEIGHTS_ONLY_LOAD=1 its log may hold NumPy's numbers, and nothing runs."""
        with torch.serialization.safe_globals(_numbers()):
            super().load_checkpoint(filename_or_checkpoint)

    @property
    def _folder(self) -> Path:
        return Path(self.output_folder)

    def _seed(self, stage: int) -> None:
        """Seed by stage and rank, so that a resumed run draws what the unbroken one would have drawn.

        This holds where augmentation runs in this process (``nnUNet_n_proc_DA=0``).
        """
        seed = int(np.random.SeedSequence((self.cyclic["seed"], stage, self.local_rank)).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (what nnU-Net's loaders draw from)
        torch.manual_seed(seed)

    def _save_member(self, epoch: int) -> None:
        network = self.network.module if self.is_ddp else self.network
        network = getattr(network, "_orig_mod", network)  # under torch.compile
        copies: dict[int, torch.Tensor] = {}  # nnU-Net's decoder lists the encoder's tensors once more
        weights = {
            name: copies.setdefault(value.data_ptr(), value.detach().float().cpu())
            for name, value in network.state_dict().items()
        }
        member = {"network_weights": weights, "epoch": epoch}
        replace_whole(self._folder / _member_name(epoch), lambda file: torch.save(member, file))
        self._write_members(epoch)

    def _write_members(self, last: int) -> None:
        """List the members saved up to the epoch ``last``; files of later ones are left from a run that was killed."""
        length = self.num_epochs // self.cyclic["cycles"]
        members = [
            {"file": _member_name(epoch), "epoch": epoch, "cycle": epoch // length}
            for epoch in self.member_epochs
            if epoch <= last and (self._folder / _member_name(epoch)).is_file()
        ]
        content = {"members": members, "expected": len(self.member_epochs), "epochs": self.member_epochs}
        replace_whole(self._folder / "members.json", lambda file: file.write(json.dumps(content, indent=4).encode()))

    def _write_progress(self) -> None:
        def logged(key: str) -> list[float]:
            return [float(value) for value in self.logger.get_value(key, step=None)]

        starts, ends = logged("epoch_start_timestamps"), logged("epoch_end_timestamps")
        seconds = [round(end - start, 3) for start, end in zip(starts, ends, strict=True)]
        losses = logged("train_losses"), logged("val_losses")
        rows = zip(range(len(ends)), logged("lrs"), *losses, logged("mean_fg_dice"), seconds, strict=True)

        table = io.StringIO(newline="")
        csv.writer(table).writerows([_COLUMNS, *rows])
        replace_whole(self._folder / "progress.csv", lambda file: file.write(table.getvalue().encode()))

    def _plot_now_and_then(self, folder: str) -> None:
        if self.current_epoch == self.num_epochs - 1 or time.monotonic() - self._plotted > _PLOT_SECONDS:
            self._plot(folder)
            self._plotted = time.monotonic()


def _member_name(epoch: int) -> str:
    return f"checkpoint_epoch_{epoch:04d}.pth"
