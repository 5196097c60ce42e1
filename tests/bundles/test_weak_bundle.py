from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
import zoo_checks
from monai.bundle import load
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.phantoms.folder import draw_phantom_folder
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble
from medclipsam_monai.weak.nnunet.schedule import CyclicSchedule
from medclipsam_monai.weak.pseudo.quality_gate import Gate
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

NAME = "medclipsam_weak_segmentation"
SHIPPED = zoo_checks.BUNDLES / NAME / "models" / "model.pt"
CYCLES = {"epochs": 4, "cycles": 2, "per_cycle": 1, "iterations": 1, "validation_iterations": 1}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Eight phantoms to train on and three to test on."""
    root = tmp_path_factory.mktemp("phantoms")
    target = {"task": "chest_xray", "target": "heart"}
    train = draw_phantom_folder(root / "train", count=8, set_number=70, **target)
    return train, draw_phantom_folder(root / "test", count=3, set_number=71, **target)


@pytest.fixture(scope="module")
def settings(pictures, tiny_preset, tmp_path_factory):
    """Overrides that make the bundle run on random networks in seconds; random masks pass no gate but an open one."""
    train, test = pictures
    cpu = torch.device("cpu")
    return {
        "dataset_dir": str(train),
        "test_dir": str(test),
        "work_dir": str(tmp_path_factory.mktemp("work")),
        "device": cpu,
        "segmenter": TextSegmenter.from_preset(str(tiny_preset), cpu),
        "gate": Gate(0, 0, 0, 0, 1),
        "network_size": "tiny",
        "cyclic": CyclicSchedule(**CYCLES),
    }


def test_the_shipped_network_takes_and_gives_what_the_metadata_say(tmp_path):
    assert SHIPPED.stat().st_size < 10e6
    zoo_checks.check_network(zoo_checks.copy_bundle(NAME, tmp_path), ckpt_path=str(SHIPPED))


def test_a_picture_of_which_resampling_would_leave_nothing_is_refused():
    with pytest.raises(InputError, match="1 x 1 x 1 pixels is too small"):
        CheckpointEnsemble.from_file(SHIPPED, "cpu").predict_tensor(torch.zeros(1, 1, 1))


@pytest.mark.minutes
def test_the_whole_chain_ends_with_an_ensemble_scores_and_a_report_and_goes_on_from_there(tmp_path, settings):
    bundle = zoo_checks.copy_bundle(NAME, tmp_path)
    zoo_checks.run_workflow(zoo_checks.workflow(bundle, "train", "train.json", **settings))
    assert len(CheckpointEnsemble.from_file(bundle / "models" / "model.pt", "cpu").members) == 2
    assert len(load(NAME, bundle_dir=bundle.parent, device="cpu").ensemble.members) == 2
    page = (bundle / "eval" / "report.html").read_text()
    for picture in ("training.png", "uncertainty.png", "retention.png", "cases.png"):
        assert picture in page
        assert Image.open(bundle / "eval" / picture).size > (200, 200)
    with (bundle / "eval" / "test" / "cases.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    methods = json.loads((bundle / "eval" / "test" / "summary.json").read_text())["methods"]
    assert set(methods) == {"zero_shot", "last_checkpoint", "ensemble"}

    without = {**settings, "test_dir": None}  # then it shows validation images, and no scores
    zoo_checks.run_workflow(zoo_checks.workflow(bundle, "train", "train.json", "evaluate.json", **without))
    page = (bundle / "eval" / "report.html").read_text()
    assert "cases.png" in page
    assert "Scores" not in page

    out = tmp_path / "inference"
    flow = zoo_checks.workflow(
        bundle,
        "infer",
        "inference.json",
        dataset_dir=settings["test_dir"],
        output_dir=str(out),
        device=settings["device"],
    )
    zoo_checks.run_workflow(flow)
    for stem in ("mask", "probability", "entropy"):
        files = sorted(out.glob(f"*_{stem}.png"))
        assert len(files) == 3
        assert all(np.array(Image.open(path)).shape == (256, 256) for path in files)


def test_what_is_written_and_what_hosts_get_is_the_ensembles_mask(tmp_path, pictures):
    bundle, out = zoo_checks.copy_bundle(NAME, tmp_path), tmp_path / "out"
    asked = {"dataset_dir": str(pictures[1]), "output_dir": str(out), "ckpt_path": str(SHIPPED)}
    options = {"device": torch.device("cpu"), "threshold": 0.3}
    flow = zoo_checks.workflow(bundle, "infer", "inference.json", **asked, **options)
    zoo_checks.run_workflow(flow)
    ensemble = CheckpointEnsemble.from_file(SHIPPED, "cpu", mirroring=False)
    images = sorted((pictures[1] / "images").iterdir())
    for path in images:
        expected = ensemble.predict(path).label_map(0.3).numpy()
        np.testing.assert_array_equal(np.array(Image.open(out / f"{path.stem}_mask.png")), expected)
        assert 0.01 < expected.mean() < 0.5
    np.testing.assert_array_equal(flow.evaluator.state.output[0]["pred"].cpu().numpy().T, expected)
    assert len(list(out.glob("*_entropy.png"))) == len(images) == 3
    assert not (bundle / "eval").exists()


@pytest.mark.minutes
def test_training_names_its_classes_where_hosts_look(tmp_path, settings):
    bundle = zoo_checks.copy_bundle(NAME, tmp_path, models=True)
    asked = {"text": ["lungs", "heart=the heart"], "test_dir": "", "work_dir": str(tmp_path / "work")}
    one = {"cyclic": CyclicSchedule(**{**CYCLES, "epochs": 2, "cycles": 1})}
    zoo_checks.run_workflow(zoo_checks.workflow(bundle, "train", "train.json", **{**settings, **asked, **one}))
    ensemble = CheckpointEnsemble.from_file(bundle / "models" / "model.pt", "cpu")
    assert ensemble.names == ("background", "lungs", "heart")
    pred = zoo_checks.read_metadata(bundle)["network_data_format"]["outputs"]["pred"]
    assert pred["channel_def"] == {"0": "background", "1": "lungs", "2": "heart"}
    assert pred["num_channels"] == 3
    zoo_checks.check_network(bundle)


def test_version_ones_residual_u_net_trains_on_the_same_masks(tmp_path, settings):
    bundle = zoo_checks.copy_bundle(NAME, tmp_path)
    small = {**settings, "epochs": 5, "patch_size": [64, 64], "work_dir": str(tmp_path / "work")}
    flow = zoo_checks.workflow(bundle, "train", "train.json", "train_resunet.json", **small)
    zoo_checks.run_workflow(flow)
    saved = torch.load(bundle / "models" / "resunet.pt", weights_only=True)
    assert all(torch.equal(saved[name], value) for name, value in flow.network_def.state_dict().items())
    assert 0 <= flow.parser.get_parsed_content("validate#evaluator").state.best_metric <= 1


def test_a_gate_that_nothing_passes_stops_before_training_and_says_why(tmp_path, settings):
    bundle = zoo_checks.copy_bundle(NAME, tmp_path)
    strict = {**settings, "gate": Gate(min_quality=1.0), "work_dir": str(tmp_path / "work")}
    flow = zoo_checks.workflow(bundle, "train", "train.json", **strict)
    flow.initialize()
    with pytest.raises(RuntimeError) as error:  # MONAI wraps what a component raises
        flow.run()
    assert isinstance(error.value.__cause__, InputError)
    assert str(error.value.__cause__).startswith("none of the 8 masks passes the quality gate: quality below 1.00 8x")
    assert not (tmp_path / "work" / "nnunet").exists()


def test_every_gpu_is_given_to_nnunets_own_ddp():
    overlay = json.loads((zoo_checks.BUNDLES / NAME / "configs" / "multi_gpu_train.json").read_text())
    assert overlay["num_gpus"] == "$torch.cuda.device_count()"
