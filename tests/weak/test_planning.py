"""Plans for small networks, half-made folders, and what a user may get wrong before training."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from phantom_work import TINY_CYCLES

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet import planning
from medclipsam_monai.weak.nnunet.planning import SIZES, plan, read_planned, shrink
from medclipsam_monai.weak.nnunet.process import nnunet_environment, run_nnunet
from medclipsam_monai.weak.nnunet.schedule import CyclicSchedule


@pytest.fixture
def copied_work(tiny_work: WorkFolders, tmp_path: Path) -> WorkFolders:
    shutil.copytree(tiny_work.root, tmp_path / "copy")
    return WorkFolders(tmp_path / "copy")


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        pytest.fail("a process was started")

    monkeypatch.setattr(planning, "run_nnunet", refuse)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"epochs": 0}, "epochs must be a whole number from 1 on, got 0"),
        ({"epochs": 2.5}, "epochs must be a whole number from 1 on, got 2.5"),
        ({"iterations": True}, "iterations must be a whole number from 1 on, got True"),
        ({"epochs": 10}, "epochs must be a multiple of cycles, got 10 epochs in 3 cycles"),
        ({"gamma": 0}, "gamma must be above 0 and at most 1, got 0"),
        ({"gamma": 1.2}, "gamma must be above 0 and at most 1, got 1.2"),
        ({"initial_lr": -1}, "initial_lr must be positive, got -1"),
        ({"rule": "last"}, "rule must be one of late, sparse, both, got 'last'"),
        ({"per_cycle": 201}, "per_cycle must be at most the 200 epochs of a cycle, got 201"),
        ({"rule": "sparse", "epochs": 39}, "rule 'sparse' needs 14 epochs in a cycle or more, got 13"),
        ({"seed": -1}, "seed must be zero or positive, got -1"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_by_one_line(wrong: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as error:
        CyclicSchedule(**wrong)
    assert str(error.value) == line


def test_defaults_are_the_papers() -> None:
    paper = CyclicSchedule()
    assert (paper.epochs, paper.cycles, paper.per_cycle, paper.gamma, paper.initial_lr) == (600, 3, 10, 0.8, 0.01)


def test_plans_hold_the_small_network_and_the_schedule(tiny_work: WorkFolders) -> None:
    plans = json.loads(tiny_work.plans_json.read_text())
    configuration = plans["configurations"]["2d"]
    assert (configuration["patch_size"], configuration["batch_size"]) == ([32, 32], 2)
    assert configuration["architecture"]["arch_kwargs"]["features_per_stage"] == [4, 8, 8]
    assert CyclicSchedule(**plans["cyclic"]) == TINY_CYCLES
    assert len(list((tiny_work.preprocessed / "nnUNetPlans_2d").glob("case_000?.b2nd"))) == 8


def test_what_an_earlier_run_left_half_made_is_made_again_and_nothing_else_is_touched(tiny_work: WorkFolders) -> None:
    assert not (tiny_work.preprocessed / "nnUNetPlans_2d" / "case_of_another_set.b2nd").exists()
    assert "shapes_after_crop" in json.loads((tiny_work.preprocessed / "dataset_fingerprint.json").read_text())
    assert (tiny_work.preprocessed / "notes.txt").read_text() == "mine"
    assert len(json.loads(tiny_work.splits_json.read_text())[0]["train"]) == 6


def test_a_second_plan_changes_the_schedule_without_preprocessing_again(
    copied_work: WorkFolders, no_process: None
) -> None:
    other = replace(TINY_CYCLES, epochs=8)
    plan(copied_work, other, size="tiny")
    assert CyclicSchedule(**json.loads(copied_work.plans_json.read_text())["cyclic"]) == other
    assert CyclicSchedule(**read_planned(copied_work)["cyclic"]) == other


@pytest.mark.parametrize("change", ["label", "size", "marker"])
def test_other_data_another_size_or_no_mark_of_the_end_are_planned_again(
    copied_work: WorkFolders, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    if change == "label":
        (copied_work.labels / "case_0001.png").write_bytes((copied_work.labels / "case_0002.png").read_bytes())
    if change == "marker":
        copied_work.planned_json.unlink()
    calls = []

    def record(entry: str, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        calls.append(arguments[1:3])
        assert not copied_work.plans_json.exists()
        shutil.copy(copied_work.root / "kept.json", copied_work.plans_json)

    shutil.copy(copied_work.plans_json, copied_work.root / "kept.json")
    monkeypatch.setattr(planning, "run_nnunet", record)
    size = "small" if change == "size" else "tiny"
    plan(copied_work, TINY_CYCLES, size=size)
    assert calls == [[size, "2d"]]
    assert copied_work.splits_json.is_file()


def _planned_by_nnunet(patch: list[int], median: list[float], strides: list[list[int]]) -> dict[str, Any]:
    stages = len(strides)
    network = {
        "n_stages": stages,
        "features_per_stage": [min(512, 32 * 2**stage) for stage in range(stages)],
        "strides": strides,
        "kernel_sizes": [[3] * len(patch)] * stages,
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }
    return {
        "patch_size": patch,
        "batch_size": 12,
        "median_image_size_in_voxels": median,
        "spacing": [1.0] * len(patch),
        "architecture": {"arch_kwargs": network},
    }


# planned patch, median size, strides -> patch, stages, spacing, median of "small"
SHRUNK = {
    "256 x 256 is halved": (
        *([256, 256], [256.0, 256.0], [[1, 1]] + [[2, 2]] * 6),
        *([128, 128], 5, [2.0, 2.0], [128.0, 128.0]),
    ),
    "1024 x 768 is resampled to 128 x 96": (
        *([1024, 768], [1024.0, 768.0], [[1, 1]] + [[2, 2]] * 7),
        *([128, 128], 5, [8.0, 8.0], [128.0, 96.0]),
    ),
    "a small picture keeps nnU-Net's patch": (
        *([64, 48], [60.0, 44.0], [[1, 1]] + [[2, 2]] * 4),
        *([64, 48], 5, [1.0, 1.0], [60.0, 44.0]),
    ),
    "few stages stay few": (
        *([40, 40], [40.0, 40.0], [[1, 1]] + [[2, 2]] * 3),
        *([40, 40], 4, [1.0, 1.0], [40.0, 40.0]),
    ),
    "a volume of few slices is not pooled along them": (
        *([20, 256, 224], [20.0, 512.0, 512.0], [[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2]]),
        *([20, 64, 64], 5, [1.0, 4.0, 4.0], [20.0, 128.0, 128.0]),
    ),
}


@pytest.mark.parametrize(
    ("patch", "median", "strides", "want", "stages", "spacing", "resampled"), SHRUNK.values(), ids=SHRUNK
)
def test_small_networks_fit_what_nnunet_planned(
    patch: list[int],
    median: list[float],
    strides: list[list[int]],
    want: list[int],
    stages: int,
    spacing: list[float],
    resampled: list[float],
) -> None:
    size = SIZES["small"]
    assert size is not None
    configuration = _planned_by_nnunet(patch, median, strides)
    shrink(configuration, size)
    network = configuration["architecture"]["arch_kwargs"]
    assert configuration["patch_size"] == want
    assert configuration["spacing"] == spacing
    assert configuration["median_image_size_in_voxels"] == resampled
    assert network["n_stages"] == stages
    assert network["features_per_stage"] == list(size.features[:stages])
    assert [len(network[key]) for key in ("strides", "kernel_sizes", "n_conv_per_stage")] == [stages] * 3
    assert len(network["n_conv_per_stage_decoder"]) == stages - 1


def _no_data(folders: WorkFolders) -> None:
    shutil.rmtree(folders.nnunet)


def _no_split(folders: WorkFolders) -> None:
    folders.splits_json.unlink()


def _no_validation(folders: WorkFolders) -> None:
    folders.splits_json.write_text(json.dumps([{"train": ["case_0000"], "val": []}]))


def _lost_label(folders: WorkFolders) -> None:
    (folders.labels / "case_0003.png").unlink()


@pytest.mark.parametrize(
    ("damage", "options", "line"),
    [
        (None, {"size": "huge"}, r"size must be one of nnunet, small, tiny, got 'huge'"),
        (None, {"configuration": "3d"}, r"configuration must be one of 2d, 3d_fullres, got '3d'"),
        (None, {"configuration": "3d_fullres"}, r"configuration must be 2d for the pictures in .*, got '3d_fullres'"),
        (_no_data, {}, r"no whole data set in .*: build it first .*"),
        (_no_split, {}, r"no whole data set in .*: build it first .*"),
        (_no_validation, {}, r"the split must have at least one training and one validation case.*"),
        (_lost_label, {}, r"image or label of case_0003 is missing in .*: build the data set again"),
    ],
)
def test_what_cannot_be_planned_is_refused_before_any_process(
    copied_work: WorkFolders, no_process: None, damage: Any, options: dict[str, str], line: str
) -> None:
    if damage is not None:
        damage(copied_work)
    with pytest.raises(InputError, match=f"^{line}$"):
        plan(copied_work, TINY_CYCLES, **options)


def test_a_failing_process_is_one_line_with_its_last_error_and_its_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "plan.log"
    with pytest.raises(InputError) as error:
        run_nnunet("json:load", [], nnunet_environment(WorkFolders(tmp_path), 1), log)
    assert str(error.value).startswith("nnU-Net (load) failed: TypeError: load() missing 1 required")
    assert str(error.value).endswith(f"all it printed is in {log}")
    assert "\n" not in str(error.value)
    assert "Traceback" in log.read_text()


def test_a_process_that_was_killed_says_by_which_signal(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"failed: it was ended by signal 6; all it printed"):
        run_nnunet("os:abort", [], nnunet_environment(WorkFolders(tmp_path), 1), tmp_path / "log")


def test_the_process_has_its_own_environment_and_the_callers_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("nnUNet_raw", "/elsewhere")
    monkeypatch.setenv("nnUNet_wandb_enabled", "1")
    monkeypatch.delenv("nnUNet_results", raising=False)
    before = dict(os.environ)
    environment = nnunet_environment(WorkFolders(tmp_path), 0)
    assert environment["nnUNet_raw"] == str(tmp_path / "nnunet" / "raw")
    assert environment["nnUNet_results"] == str(tmp_path / "nnunet" / "results")
    assert (environment["nnUNet_n_proc_DA"], environment["nnUNet_def_n_proc"]) == ("0", "1")
    assert "nnUNet_wandb_enabled" not in environment
    assert dict(os.environ) == before
