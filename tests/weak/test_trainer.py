"""The external trainer file: its equations, what it saves and when, and what a full disk leaves behind."""

from __future__ import annotations

import json
import os
import pickle
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch

from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.process import nnunet_environment
from medclipsam_monai.weak.nnunet.trainer.nnunet_trainer_cyclic import (
    learning_rate,
    member_epochs,
    nnUNetTrainerCyclic,
    replace_whole,
)

# epochs, cycles, gamma, initial rate -> rates, each worked out from the equation by hand
RATES = {
    "one cycle falls over its first 80 percent": (5, 1, 0.8, 0.01, [1.0, 0.8, 0.6, 0.4, 0.2]),
    "the rate stays from gamma on": (10, 1, 0.5, 0.01, [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5]),
    "each cycle starts anew, and falls by the part of all epochs": (6, 2, 0.8, 0.1, [1.0, 5 / 6, 4 / 6] * 2),
    "gamma times the cycle is rounded down": (6, 2, 0.5, 0.01, [1.0, 5 / 6, 5 / 6] * 2),
}


@pytest.mark.parametrize(("epochs", "cycles", "gamma", "initial", "left"), RATES.values(), ids=RATES)
def test_learning_rate_follows_the_equation(
    epochs: int, cycles: int, gamma: float, initial: float, left: list[float]
) -> None:
    rates = [learning_rate(epoch, epochs, cycles, gamma, initial) for epoch in range(epochs)]
    assert rates == pytest.approx([initial * part**0.9 for part in left], rel=1e-12)


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [
        (0, 0.01),
        (1, 0.01 * (599 / 600) ** 0.9),
        (159, 0.01 * (441 / 600) ** 0.9),
        (160, 0.01 * (440 / 600) ** 0.9),
        (199, 0.01 * (440 / 600) ** 0.9),
        (200, 0.01),
        (399, 0.01 * (440 / 600) ** 0.9),
        (400, 0.01),
        (599, 0.01 * (440 / 600) ** 0.9),
    ],
)
def test_learning_rate_of_the_paper(epoch: int, rate: float) -> None:
    assert learning_rate(epoch, 600, 3, 0.8, 0.01) == pytest.approx(rate, rel=1e-12)


def test_a_cycle_of_100_epochs_with_gamma_29_percent_stays_from_epoch_29_on() -> None:
    rates = [learning_rate(epoch, 100, 1, 0.29, 1.0) for epoch in (28, 29, 30)]
    assert rates == pytest.approx([0.72**0.9, 0.71**0.9, 0.71**0.9], rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "epochs"),
    [
        ((6, 2, 2, "late"), [1, 2, 4, 5]),
        ((4, 2, 2, "late"), [0, 1, 2, 3]),
        ((28, 2, 1, "sparse"), [7, 8, 9, 10, 11, 12, 13, 21, 22, 23, 24, 25, 26, 27]),
        ((26, 1, 3, "sparse"), [13, 15, 17, 19, 21, 23, 25]),
        ((26, 1, 3, "both"), [13, 15, 17, 19, 21, 23, 24, 25]),
    ],
)
def test_members_are_kept_by_rule(arguments: tuple[int, int, int, str], epochs: list[int]) -> None:
    assert member_epochs(*arguments) == epochs


def test_the_papers_ensemble_has_thirty_members_at_the_ends_of_three_cycles() -> None:
    assert member_epochs(600, 3, 10, "late") == [*range(190, 200), *range(390, 400), *range(590, 600)]


def _full_disk(file: BinaryIO) -> None:
    file.write(b"half")
    raise OSError(28, "No space left on device")


def _full_disk_as_torch_says(file: BinaryIO) -> None:
    try:
        _full_disk(file)
    except OSError:
        raise RuntimeError("[enforce fail at inline_container.cc:668] . unexpected pos 64 vs 0")  # noqa: B904


@pytest.mark.parametrize("write", [_full_disk, _full_disk_as_torch_says])
def test_what_cannot_be_saved_leaves_the_old_file_whole_and_no_other(
    tmp_path: Path, write: Callable[[BinaryIO], None]
) -> None:
    path = tmp_path / "checkpoint_latest.pth"
    path.write_bytes(b"whole")
    line = r"cannot save checkpoint_latest\.pth: No space left on device; what was saved before is whole"
    with pytest.raises(OSError, match=f"^{line}$"):
        replace_whole(path, write)
    assert path.read_bytes() == b"whole"
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint_latest.pth"]


def test_another_failure_while_saving_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    def fail(file: BinaryIO) -> None:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match=r"^out of memory$"):
        replace_whole(tmp_path / "checkpoint_latest.pth", fail)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def trainer(tiny_work: WorkFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[nnUNetTrainerCyclic]:
    """A trainer in this process, which writes into a folder of its own."""
    for name, value in nnunet_environment(tiny_work, workers=0).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    plans = json.loads(tiny_work.plans_json.read_text())
    dataset = json.loads(tiny_work.dataset_json.read_text())
    trainer = nnUNetTrainerCyclic({**plans, "continue_training": False}, "2d", 0, dataset, torch.device("cpu"))
    trainer.initialize()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield trainer
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_a_disk_that_is_really_full_keeps_the_last_checkpoint(trainer: nnUNetTrainerCyclic) -> None:
    latest = Path(trainer.output_folder) / "checkpoint_latest.pth"
    trainer.save_checkpoint(str(latest))
    before = latest.read_bytes()
    trainer.current_epoch = 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    for save in (lambda: trainer.save_checkpoint(str(latest)), lambda: trainer._save_member(1)):
        with pytest.raises(
            OSError, match=r"^cannot save checkpoint_\w+\.pth: File too large; what was saved before is whole$"
        ):
            save()
    assert latest.read_bytes() == before
    assert not list(latest.parent.glob("*.part"))
    assert not list(latest.parent.glob("checkpoint_epoch_*"))


def test_hyper_parameters_come_from_the_plans(trainer: nnUNetTrainerCyclic) -> None:
    found = (trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch)
    assert found == (6, 4, 1)
    rates = []
    for epoch in (0, 1, 2, 3):
        trainer.lr_scheduler.step(epoch)
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.01, 0.01 * (5 / 6) ** 0.9, 0.01 * (4 / 6) ** 0.9, 0.01], rel=1e-12)


def test_augmentation_is_nnunets_own(trainer: nnUNetTrainerCyclic) -> None:
    own = vars(nnUNetTrainerCyclic)
    assert not {"get_training_transforms", "get_dataloaders", "_build_loss", "build_network_architecture"} & own.keys()
    assert trainer.oversample_foreground_percent == 0.33


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def test_a_checkpoint_to_go_on_from_is_data(trainer: nnUNetTrainerCyclic, tmp_path: Path) -> None:
    latest, marker = tmp_path / "checkpoint_latest.pth", tmp_path / "payload_was_here"
    trainer.logger.log("train_losses", np.float32(0.5), 0)
    trainer._best_ema = np.float64(0.25)
    trainer.save_checkpoint(str(latest))
    trainer._best_ema = None
    trainer.load_checkpoint(str(latest))
    assert trainer._best_ema == 0.25
    torch.save({"network_weights": {}, "_best_ema": Touch(marker)}, latest)
    with pytest.raises(pickle.UnpicklingError):
        trainer.load_checkpoint(str(latest))
    assert not marker.exists()
