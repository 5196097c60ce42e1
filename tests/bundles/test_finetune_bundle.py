from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import zoo_checks
from monai.bundle import load
from PIL import Image

from medclipsam_monai.networks.clip.load import load_text_image_encoder

NAME = "medclipsam_finetune"
WORDS = "large small round dark bright mass nodule lung heart liver".split()


@pytest.fixture
def bundle(tmp_path):
    return zoo_checks.copy_bundle(NAME, tmp_path)


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """A CSV of pairs: 24 discs of 12 patients, described by what they look like."""
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "images").mkdir()
    rows = ["file,report,patient"]
    y, x = np.mgrid[:40, :50]
    for n in range(24):
        disc = (y - 20) ** 2 + (x - 10 - n) ** 2 < (4 + n % 7) ** 2
        Image.fromarray((disc * (80 + 7 * n)).astype(np.uint8)).save(folder / "images" / f"d{n}.png")
        Image.fromarray(disc.astype(np.uint8) * 255).save(folder / f"mask{n}.png")
        rows.append(f"d{n}.png,a {WORDS[n % 10]} disk number {n} in the {WORDS[n % 7]},p{n // 2}")
    rows.append("gone.png,a disk whose picture is not there,p99")
    masks = [f"images/d{n}.png,mask{n}.png,a bright disk" for n in range(24)]
    (folder / "masks.csv").write_text("image,mask,target\n" + "\n".join(masks) + "\n")
    (folder / "pairs.csv").write_text("\n".join(rows) + "\n")
    return folder / "pairs.csv"


@pytest.fixture
def tiny(clip_folder, table):
    """Overrides that make the bundle run on a random CLIP and a few pairs in seconds."""
    return {
        "clip_weights": str(clip_folder),
        "dataset_dir": str(table),
        "image_column": "file",
        "caption_column": "report",
        "case_column": "patient",
        "validation_fraction": 0.3,
        "epochs": 2,
        "batch_size": 4,
        "warmup_steps": 1,
        "retrieval_batch": 4,
        "device": torch.device("cpu"),
    }


def test_the_network_takes_and_gives_what_the_metadata_say(bundle):
    zoo_checks.check_network(bundle, "train.json")


def test_training_has_every_property_and_gives_a_clip_that_loads(bundle, tiny):
    flow = zoo_checks.workflow(bundle, "train", "train.json", transformers_dir=str(bundle / "port"), **tiny)
    zoo_checks.run_workflow(flow)
    assert {"model.pt", "last.pt", "clip"} == {path.name for path in (bundle / "models").iterdir()}
    encoder = load_text_image_encoder(bundle / "models" / "clip")
    assert encoder.encode_text(["a dark disk"]).shape == (1, 24)
    assert (bundle / "port" / "model.safetensors").is_file()
    best = torch.load(bundle / "models" / "model.pt", weights_only=True)
    loaded = load(NAME, bundle_dir=bundle.parent, workflow_type="inference", device="cpu").state_dict()
    assert loaded.keys() == best.keys() and all(torch.equal(loaded[key], value) for key, value in best.items())
    rows = json.loads((bundle / "eval" / "history.json").read_text())["epochs"]
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert (bundle / "eval" / "training.png").is_file()


def test_evaluation_takes_the_best_weights_and_writes_the_figures(bundle, tiny):
    flow = zoo_checks.workflow(bundle, "train", "train.json", **tiny)
    zoo_checks.run_workflow(flow)
    best = flow.evaluator.state.best_metric
    again = zoo_checks.workflow(bundle, "train", "train.json", "evaluate.json", **tiny)
    zoo_checks.run_workflow(again)
    assert again.evaluator.state.metrics["retrieval"] == pytest.approx(best)
    with (bundle / "eval" / "metrics.csv").open() as file:
        names = {row[0] for row in csv.reader(file)}
    assert {"retrieval_image_to_text_top1", "retrieval_text_to_image_top5_sd", "retrieval_all"} <= names


def test_evaluation_without_trained_weights_measures_where_training_starts(bundle, tiny):
    flow = zoo_checks.workflow(bundle, "train", "train.json", "evaluate.json", **tiny)
    zoo_checks.run_workflow(flow)
    assert 0 <= flow.evaluator.state.metrics["retrieval_all"] <= 1


def test_evaluation_scores_saliency_where_masks_are_given(bundle, tiny, table, tiny_preset):
    masks = {"masks": str(table.parent / "masks.csv"), "mask_count": 2, "preset": str(tiny_preset)}
    flow = zoo_checks.workflow(bundle, "train", "train.json", "evaluate.json", **tiny, **masks)
    zoo_checks.run_workflow(flow)
    metrics = flow.evaluator.state.metrics
    assert 0 <= metrics["saliency_pointing_game"] <= 1 and 0 <= metrics["saliency_dsc"] <= 1


def test_inference_writes_the_embeddings_of_all_pairs(bundle, tiny, table):
    """Against the network's own features."""
    few = ("epochs", "batch_size", "warmup_steps", "validation_fraction")
    given = {key: value for key, value in tiny.items() if key not in few}
    flow = zoo_checks.workflow(bundle, "infer", "inference.json", batch_size=5, **given)
    zoo_checks.run_workflow(flow)
    with (bundle / "eval" / "embeddings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with table.open(newline="") as file:  # its last image is not there
        expected = [(str(table.parent / "images" / row["file"]), row["report"]) for row in csv.DictReader(file)][:24]
    assert [(row["image"], row["caption"]) for row in rows] == expected
    found = np.load(bundle / "eval" / "embeddings.npz")
    assert found["image"].shape == found["text"].shape == (24, 24) and found["image"].dtype == np.float32
    encoder = load_text_image_encoder(given["clip_weights"])
    texts = torch.nn.functional.normalize(encoder.encode_text([row["caption"] for row in rows]), dim=-1)
    np.testing.assert_allclose(found["text"], texts.detach().numpy(), atol=1e-5)
    with torch.no_grad():
        images = flow.network_def(torch.stack([flow.dataset[n]["image"] for n in range(24)]))
    np.testing.assert_allclose(found["image"], torch.nn.functional.normalize(images, dim=-1).numpy(), atol=1e-5)


def _delimiter(file):
    first = file.readline()
    file.seek(0)
    return "\t" if "\t" in first else ","


def test_inference_as_shipped_writes_retrieval_counted_by_hand(bundle):
    flow = zoo_checks.workflow(bundle, "infer", "inference.json", device="cpu", num_phantoms=40, retrieval_batch=5)
    zoo_checks.run_workflow(flow)
    found = np.load(bundle / "eval" / "embeddings.npz")
    count = len(flow.dataset)
    assert found["image"].shape == (count, 192) and count > 20
    captions = np.array([pair.caption for pair in flow.dataset.pairs])
    right = captions[:, None] == captions
    similarity = found["image"] @ found["text"].T
    with (bundle / "eval" / "metrics.csv").open() as file:
        metrics = {name: float(value) for name, value in csv.reader(file, delimiter=_delimiter(file))}
    for direction, scores in (("image_to_text", similarity), ("text_to_image", similarity.T)):
        best = np.where(right, scores, -2).max(1, keepdims=True)
        place = ((scores >= best) & ~right).sum(1)
        for k in (1, 2, 5):
            assert metrics[f"retrieval_all_{direction}_top{k}"] == pytest.approx((place < k).mean())


@pytest.mark.parametrize("overlay", ["biomedclip.json", "released_script.json"])
def test_the_published_settings_train_too(bundle, tiny, overlay):
    small = {**tiny, "num_workers": 0, "epochs": 1, "halve_every": 1}
    flow = zoo_checks.workflow(bundle, "train", "train.json", overlay, **small)
    zoo_checks.run_workflow(flow)
    settings = json.loads((bundle / "configs" / overlay).read_text())
    assert flow.trainer.optimizer.param_groups[0]["initial_lr"] == settings["learning_rate"]


def run_ranks(ranks: int, bundle: Path, configs: str, overrides: dict[str, object]) -> None:
    settings = [part for name, value in overrides.items() for part in (f"--{name}", str(value))]
    launcher = [sys.executable, "-m"]
    if ranks > 1:
        launcher += ["torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}", "-m"]
    done = subprocess.run(
        [*launcher, "monai.bundle", "run", "--config_file", configs, "--logging_file", "False", *settings],
        cwd=bundle,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.minutes
def test_two_ranks_give_the_loss_and_weights_of_one_with_the_joint_batch(bundle, tiny, tmp_path):
    steady = tmp_path / "steady"
    shutil.copytree(tiny.pop("clip_weights"), steady)
    config = json.loads((steady / "config.json").read_text())
    # Ranks draw dropout of their own, so only without it can the two be the same.
    config.update(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    (steady / "config.json").write_text(json.dumps(config))
    del tiny["device"]
    shared = {**tiny, "clip_weights": steady, "loss#learn_temperature": True, "device": "cpu", "chunk_size": 3}
    one, two = tmp_path / "one", tmp_path / "two"
    run_ranks(1, bundle, "configs/train.json", {**shared, "batch_size": 8, "ckpt_dir": one, "output_dir": one})
    del shared["device"]
    overlay = "['configs/train.json','configs/multi_gpu_train.json']"
    run_ranks(2, bundle, overlay, {**shared, "batch_size": 4, "ckpt_dir": two, "output_dir": two})
    alone, together = (torch.load(folder / "last.pt") for folder in (one, two))
    losses = [[row["loss"] for row in s["objects"]["history"]["rows"][1:]] for s in (alone, together)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert together["objects"]["loss"]["log_temperature"].item() == pytest.approx(
        alone["objects"]["loss"]["log_temperature"].item(), abs=1e-6
    )
    for name, value in alone["network"].items():
        torch.testing.assert_close(together["network"][name], value, atol=1e-5, rtol=1e-3, msg=name)


@pytest.mark.slow
@pytest.mark.minutes
def test_a_shorter_run_as_shipped_improves_retrieval_and_the_result_segments(tmp_path):
    bundle = zoo_checks.copy_bundle(NAME, tmp_path)
    run_ranks(1, bundle, "configs/train.json", {"num_phantoms": 700, "epochs": 2})
    rows = json.loads((bundle / "eval" / "history.json").read_text())["epochs"]
    assert max(row["retrieval"] for row in rows[1:]) > rows[0]["retrieval"]
    zero_shot = zoo_checks.copy_bundle("medclipsam_zeroshot_segmentation", tmp_path)
    run_ranks(1, zero_shot, "configs/inference.json", {"clip_weights": bundle / "models" / "clip"})
    assert list((zero_shot / "eval").glob("*_mask.png"))
