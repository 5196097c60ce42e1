"""``--tracking mlflow`` of MONAI's command on the bundles that train: what the experiment then holds."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow

from medclipsam_monai.phantoms.folder import draw_phantom_folder
from medclipsam_monai.weak.pseudo.quality_gate import Gate

mlflow = pytest.importorskip("mlflow", reason="mlflow is an extra; the label environment has it")

SHORT = {"epochs": 2, "cycles": 1, "per_cycle": 1, "iterations": 2, "validation_iterations": 1}
BUNDLES = Path(__file__).parents[2] / "bundles"


def _tracked(bundle: str, tmp_path: Path, **overrides: Any) -> Any:
    """Train a bundle with few steps; returns the one finished run."""
    root = tmp_path / bundle
    shutil.copytree(BUNDLES / bundle, root, ignore=shutil.ignore_patterns("eval", "models"))
    workflow = ConfigWorkflow(
        config_file=str(root / "configs/train.json"),
        meta_file=str(root / "configs/metadata.json"),
        logging_file=None,
        workflow_type="train",
        bundle_root=str(root),
        tracking="mlflow",
        device="cpu",
        **overrides,
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{root}/eval/mlruns.db")
    experiment = client.get_experiment_by_name("monai_experiment")
    finished = [run for run in client.search_runs([experiment.experiment_id]) if run.info.status == "FINISHED"]
    return client, finished


def test_fine_tuning_is_tracked(tmp_path: Path) -> None:
    client, runs = _tracked("medclipsam_finetune", tmp_path, epochs=2, num_phantoms=60, batch_size=8, retrieval_batch=8)
    (run,) = [run for run in runs if "train_loss" in run.data.metrics]
    assert len(client.get_metric_history(run.info.run_id, "train_loss")) > 2
    assert len(client.get_metric_history(run.info.run_id, "retrieval")) == 3  # before training and after each epoch


@pytest.mark.minutes
def test_weak_training_is_tracked(tmp_path: Path) -> None:
    client, (run,) = _tracked(
        "medclipsam_weak_segmentation",
        tmp_path,
        dataset_dir=str(draw_phantom_folder(tmp_path / "drawn", "chest_xray", "heart", count=8)),
        test_dir=None,
        gate={"_target_": "medclipsam_monai.weak.pseudo.quality_gate.Gate", **asdict(Gate(0, 0, 0, 0, 1))},
        network_size="tiny",
        **{f"cyclic#{name}": value for name, value in SHORT.items()},
    )
    assert run.data.params["max_epochs"] == "2"
    history = client.get_metric_history(run.info.run_id, "train_loss")
    assert [point.step for point in history] == [1, 2]
    assert {"lr", "val_loss", "pseudo_dice", "seconds"} <= set(run.data.metrics)
