"""A whole cyclic training by nnU-Net: its members and figures, a kill in the middle of a cycle, what is refused."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from ignite.engine import Engine, Events
from phantom_work import TINY_CYCLES
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet import training
from medclipsam_monai.weak.nnunet.planning import plan
from medclipsam_monai.weak.nnunet.training import NnUNetTraining, members_missing, read_progress

# 0.01 (1 - min(tc, floor(0.8 * 3)) / 6)^0.9 for tc = 0, 1, 2, twice
RATES = [0.01, 0.01 * (5 / 6) ** 0.9, 0.01 * (4 / 6) ** 0.9] * 2
MEMBERS = [f"checkpoint_epoch_{epoch:04d}.pth" for epoch in (1, 2, 4, 5)]


class Watch:
    """A handler in Ignite's way: what happened to the engine it is attached to."""

    def __init__(self, kill_after: int | None = None) -> None:
        self.kill_after = kill_after
        self.happened: list[str] = []
        self.epochs: list[int] = []
        self.metrics: list[dict[str, float]] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self.happened.append, "STARTED")
        engine.add_event_handler(Events.COMPLETED, self.happened.append, "COMPLETED")
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)

    def epoch_completed(self, engine: Engine) -> None:
        self.epochs.append(engine.state.epoch)
        self.metrics.append(engine.state.metrics)
        if engine.state.epoch == self.kill_after:
            for child in psutil.Process().children():
                child.send_signal(signal.SIGKILL)


@pytest.fixture
def copied_training(trained_work: WorkFolders, tmp_path: Path) -> WorkFolders:
    shutil.copytree(trained_work.root, tmp_path / "copy")
    return WorkFolders(tmp_path / "copy")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines of the processes that would have been started."""
    calls: list[list[str]] = []
    monkeypatch.setattr(training, "run_nnunet", lambda entry, arguments, *_: calls.append(arguments))
    return calls


def _weights(folders: WorkFolders, name: str) -> dict[str, torch.Tensor]:
    return torch.load(folders.fold / name, weights_only=True)["network_weights"]


def test_members_are_listed_and_open_without_pickle(trained_work: WorkFolders) -> None:
    listed = json.loads(trained_work.members_json.read_text())
    assert [member["file"] for member in listed["members"]] == MEMBERS
    assert [(member["epoch"], member["cycle"]) for member in listed["members"]] == [(1, 0), (2, 0), (4, 1), (5, 1)]
    assert (listed["expected"], listed["epochs"]) == (4, [1, 2, 4, 5])
    assert members_missing(trained_work) == []
    for name, epoch in zip(MEMBERS, (1, 2, 4, 5), strict=True):
        member = torch.load(trained_work.fold / name, weights_only=True)
        assert (sorted(member), member["epoch"]) == (["epoch", "network_weights"], epoch)
        assert {value.dtype for value in member["network_weights"].values()} == {torch.float32}


def test_members_differ_and_the_last_one_is_the_final_checkpoint(trained_work: WorkFolders) -> None:
    members = [_weights(trained_work, name) for name in MEMBERS]
    key = "encoder.stages.0.0.convs.0.conv.weight"
    assert not any(torch.equal(one[key], other[key]) for one, other in itertools.pairwise(members))
    final = torch.load(trained_work.fold / "checkpoint_final.pth", weights_only=False)
    assert all(torch.equal(final["network_weights"][name], value) for name, value in members[-1].items())


def test_progress_holds_the_rates_of_the_equation(trained_work: WorkFolders) -> None:
    rows = read_progress(trained_work)
    assert [row.epoch for row in rows] == [0, 1, 2, 3, 4, 5]
    assert [row.lr for row in rows] == pytest.approx(RATES, rel=1e-12)
    assert rows[-1].train_loss < rows[0].train_loss
    assert all(0 <= row.pseudo_dice <= 1 and row.seconds > 0 for row in rows)


def test_tensorboard_shows_what_progress_holds(trained_work: WorkFolders) -> None:
    events = EventAccumulator(str(trained_work.events)).Reload()
    assert set(events.Tags()["scalars"]) == {"learning_rate", "loss/train", "loss/validation", "pseudo_dice"}
    rows = read_progress(trained_work)
    for tag, values in {
        "learning_rate": [row.lr for row in rows],
        "loss/train": [row.train_loss for row in rows],
        "pseudo_dice": [row.pseudo_dice for row in rows],
    }.items():
        assert [event.step for event in events.Scalars(tag)] == [row.epoch for row in rows]
        assert [event.value for event in events.Scalars(tag)] == pytest.approx(values, rel=1e-6)


def test_schedule_travels_with_plans_and_checkpoints(trained_work: WorkFolders) -> None:
    plans = json.loads((trained_work.results / "plans.json").read_text())
    checkpoint = torch.load(trained_work.fold / "checkpoint_final.pth", weights_only=False)
    for found in (plans, checkpoint["init_args"]["plans"]):
        assert found["cyclic"]["epochs"] == TINY_CYCLES.epochs
        assert found["cyclic"]["gamma"] == TINY_CYCLES.gamma
    assert checkpoint["trainer_name"] == "nnUNetTrainerCyclic"


def test_the_ensemble_of_a_real_training(trained_work: WorkFolders) -> None:
    ensemble = CheckpointEnsemble.from_training(trained_work.root, "cpu")
    case = next(trained_work.images.glob("*.png"))
    found = ensemble.predict(case)
    assert len(found.members) == 4
    assert found.probability.shape == (3, 64, 64)
    assert torch.allclose(found.probability.sum(0), torch.ones(64, 64), atol=1e-5)


@pytest.mark.minutes
def test_a_training_killed_inside_a_cycle_goes_on_and_ends_with_the_same_members(
    tiny_work: WorkFolders, trained_work: WorkFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("nnUNet_results", "/nowhere")
    monkeypatch.setenv("nnUNet_wandb_enabled", "not a number")
    monkeypatch.delenv("nnUNet_raw", raising=False)
    environment = dict(os.environ)
    shutil.copytree(tiny_work.root, tmp_path / "work")
    folders = WorkFolders(tmp_path / "work")

    killed = Watch(kill_after=2)
    with pytest.raises(InputError, match=r"^nnU-Net \(run_training_entry\) failed: it was ended by signal 9[^\n]*$"):
        NnUNetTraining(folders, device="cpu", progress=False, train_handlers=[killed]).run()
    assert (killed.happened, killed.epochs) == (["STARTED"], [1, 2])
    assert members_missing(folders) == MEMBERS[1:]
    assert not (folders.fold / "checkpoint_final.pth").exists()
    (folders.fold / "checkpoint_latest.pth.part").write_bytes(b"cut while saving")

    resumed = Watch()
    rows = NnUNetTraining(folders, device="cpu", progress=False, train_handlers=[resumed]).run()
    assert (resumed.happened, resumed.epochs) == (["STARTED", "COMPLETED"], [3, 4, 5, 6])
    assert [figures["train_loss"] for figures in resumed.metrics] == [row.train_loss for row in rows[2:]]
    assert [row.lr for row in rows] == pytest.approx(RATES, rel=1e-12)
    assert members_missing(folders) == []
    assert json.loads(folders.members_json.read_text()) == json.loads(trained_work.members_json.read_text())
    for name in MEMBERS:
        unbroken = _weights(trained_work, name)
        assert all(torch.equal(value, unbroken[key]) for key, value in _weights(folders, name).items()), name
    assert not list(folders.fold.glob("*.part"))
    assert dict(os.environ) == environment


def test_a_finished_training_is_not_run_again(copied_training: WorkFolders, started: list[list[str]]) -> None:
    rows = NnUNetTraining(copied_training, device="cpu").run()
    assert len(rows) == 6
    assert started == []


def test_a_lost_member_is_named(copied_training: WorkFolders, started: list[list[str]]) -> None:
    (copied_training.fold / MEMBERS[2]).unlink()
    assert members_missing(copied_training) == [MEMBERS[2]]
    with pytest.raises(InputError, match=rf"^{MEMBERS[2]} of the finished training in .* is missing: [^\n]*$"):
        NnUNetTraining(copied_training, device="cpu").run()


def test_other_settings_than_at_the_start_are_refused(copied_training: WorkFolders, started: list[list[str]]) -> None:
    plan(copied_training, replace(TINY_CYCLES, epochs=8, seed=4), size="tiny")
    with pytest.raises(InputError, match=r"began with other epochs \(6, now 8\), seed \(3, now 4\) than planned now"):
        NnUNetTraining(copied_training, device="cpu").run()
    assert members_missing(copied_training) == []
    assert started == []


def test_starting_over_removes_the_old_training_and_no_other_file(
    copied_training: WorkFolders, started: list[list[str]]
) -> None:
    (copied_training.fold / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="no training in"):  # the process that would have trained is not there
        NnUNetTraining(copied_training, device="cpu", resume=False, progress=False, tensorboard=False).run()
    assert sorted(path.name for path in copied_training.fold.iterdir()) == ["notes.txt", "started_with.json"]
    assert len(started) == 1
    assert "--c" not in started[0]


def test_max_epochs_wins_over_the_plan(tiny_work: WorkFolders, tmp_path: Path, started: list[list[str]]) -> None:
    shutil.copytree(tiny_work.root, tmp_path / "copy")
    folders = WorkFolders(tmp_path / "copy")
    with pytest.raises(InputError, match="no training in"):
        NnUNetTraining(folders, max_epochs=4, device="cpu", progress=False, tensorboard=False).run()
    assert json.loads(folders.plans_json.read_text())["cyclic"]["epochs"] == 4
    whole = pytest.warns(InputWarning, match="6 epochs, not 5: a training has whole cycles, here 2")
    with whole, pytest.raises(InputError, match="no training in"):
        NnUNetTraining(folders, max_epochs=5, device="cpu", progress=False, tensorboard=False).run()
    assert json.loads(folders.plans_json.read_text())["cyclic"]["epochs"] == 6


def test_several_gpus_are_nnunets_own_ddp(
    tiny_work: WorkFolders, tmp_path: Path, started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_work.root, tmp_path / "copy")
    run = NnUNetTraining(tmp_path / "copy", device="cpu", num_gpus=2, progress=False, tensorboard=False)
    with pytest.raises(InputError, match=r"^num_gpus=2 needs CUDA, the device is cpu; expected num_gpus=1$"):
        run.run()
    run.device = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match=r"^num_gpus must be at most the 1 GPUs here, got 2$"):
        run.run()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="no training in"):
        run.run()
    assert started[0][started[0].index("-num_gpus") + 1] == "2"
    assert started[0][started[0].index("-device") + 1] == "cuda"


def test_nothing_planned_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^nothing is planned in [^\n]*: plan first$"):
        NnUNetTraining(tmp_path, device="cpu").run()
    with pytest.raises(InputError, match=r"^no training in [^\n]*: train first \(members\.json is read\)$"):
        members_missing(WorkFolders(tmp_path))
