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
from PIL import Image

from medclipsam_monai import TextSegmenter
from medclipsam_monai.phantoms.samples import sample_folder

NAME = "medclipsam_zeroshot_segmentation"


@pytest.fixture
def bundle(tmp_path):
    return zoo_checks.copy_bundle(NAME, tmp_path)


@pytest.fixture
def tiny(tiny_preset):
    """Overrides that make the bundle run on random networks in seconds."""
    return {"preset": str(tiny_preset), "device": torch.device("cpu")}


def test_the_network_takes_and_gives_what_the_metadata_say(bundle, tiny):
    zoo_checks.check_network(bundle, preset=tiny["preset"])


@pytest.mark.parametrize(
    ("overlay", "masks"), [((), ["xray_00"]), (("batch_inference.json",), [f"xray_{n:02}" for n in range(6)])]
)
def test_inference_has_every_property_and_writes_masks(bundle, tiny, overlay, masks):
    zoo_checks.run_workflow(zoo_checks.workflow(bundle, "infer", "inference.json", *overlay, **tiny))
    assert sorted(p.name for p in (bundle / "eval").glob("*_mask.png")) == [f"{name}_mask.png" for name in masks]
    assert np.array(Image.open(bundle / "eval" / "xray_00_mask.png")).shape == (256, 256)


@pytest.mark.parametrize("text", [None, "lungs"])
def test_examples_show_what_to_segment_as_in_the_package(bundle, tiny, tmp_path, text):
    shown = tmp_path / "shown"
    shown.mkdir()
    shutil.copy(sample_folder() / "images" / "xray_01.png", shown / "a.png")
    lungs = np.array(Image.open(sample_folder() / "labels" / "xray_01.png")) > 0
    Image.fromarray(lungs.astype(np.uint8) * 255).save(shown / "a_mask.png")
    asked = {**tiny, "text": text, "examples": str(shown)}
    zoo_checks.run_workflow(zoo_checks.workflow(bundle, "infer", "inference.json", **asked))
    segmenter = TextSegmenter.from_preset(tiny["preset"], device="cpu").with_examples(shown)
    expected = segmenter(sample_folder() / "images" / "xray_00.png", text).label_map.numpy()
    np.testing.assert_array_equal(np.array(Image.open(bundle / "eval" / "xray_00_mask.png")), expected)


def test_evaluation_writes_dice_and_surface_dice_of_each_image_and_a_summary(bundle, tiny):
    flow = zoo_checks.workflow(bundle, "infer", "inference.json", "evaluate.json", **tiny)
    zoo_checks.run_workflow(flow)
    metrics = flow.evaluator.state.metrics
    for name in ("val_mean_dice", "val_mean_nsd"):
        with (bundle / "eval" / f"{name}_raw.csv").open() as file:
            rows = list(csv.DictReader(file, delimiter="\t" if "\t" in file.readline() else ",", fieldnames=None))
        assert len(rows) >= 6 - 1
        assert (bundle / "eval" / f"{name}_summary.csv").is_file()
        assert 0 <= metrics[name] <= 1


def test_the_scores_are_those_of_the_masks_that_the_package_finds(bundle):
    flow = zoo_checks.workflow(
        bundle, "infer", "inference.json", "evaluate.json", preset="demo", device=torch.device("cpu")
    )
    flow.initialize()
    flow.run()
    segmenter, scores = TextSegmenter.from_preset("demo", device="cpu"), []
    for path in sorted((sample_folder() / "images").iterdir()):
        found = segmenter(path, "lungs").label_map.numpy() > 0
        true = np.array(Image.open(sample_folder() / "labels" / path.name)) > 0
        scores.append(2 * (found & true).sum() / (found.sum() + true.sum()))
    assert flow.evaluator.state.metrics["val_mean_dice"] == pytest.approx(np.mean(scores), abs=1e-6)
    assert len(list((bundle / "eval").glob("*_mask.png"))) == len(scores) == 6


def test_a_task_of_the_preset_sets_its_parameters(bundle, tiny, tmp_path):
    preset = tmp_path / "mine.json"
    preset.write_text(json.dumps({"extends": tiny["preset"], "tasks": {"chest": {"threshold": 0.25}}}))
    flow = zoo_checks.workflow(bundle, "infer", "inference.json", **tiny | {"preset": str(preset)}, task="chest")
    flow.initialize()
    assert flow.network_def.settings.threshold == 0.25


@pytest.mark.parametrize("threshold", [0, 0.3, 0.5, 0.7, 1])
def test_the_displayed_threshold_gives_the_masks_of_the_package_and_its_command(bundle, run, tmp_path, threshold):
    image, text = sample_folder() / "images" / "xray_00.png", "lungs, heart"
    given = {"threshold": threshold, "preset": "demo"}
    flow = zoo_checks.workflow(
        bundle, "infer", "inference.json", image=str(image), text=text, device=torch.device("cpu"), **given
    )
    zoo_checks.run_workflow(flow)
    found = np.array(Image.open(bundle / "eval" / "xray_00_mask.png"))
    expected = TextSegmenter.from_preset("demo", device="cpu", settings={"threshold": threshold})(image, text)
    np.testing.assert_array_equal(found, expected.label_map)
    assert (found.max() == 0) == (threshold == 1)
    np.testing.assert_array_equal(flow.evaluator.state.output[0]["pred"].cpu().numpy().T, expected.label_map)
    code, *said = run(image, "--text", text, "--set", f"threshold={threshold}", preset="demo")
    assert code == 0, said
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "out" / "xray_00_mask.png")), found)


def test_settings_and_the_displayed_threshold_are_one(bundle, tiny):
    flow = zoo_checks.workflow(bundle, "infer", "inference.json", settings={"threshold": 0.4}, **tiny)
    flow.initialize()
    assert flow.network_def.settings.threshold == 0.4 == flow.parser.get_parsed_content("threshold")


def test_model_pt_is_written_and_read_back(bundle):
    flow = zoo_checks.workflow(bundle, "infer", "inference.json", run_id="export", device="cpu")
    flow.initialize()
    flow.run()
    path = bundle / "models" / "model.pt"
    state = torch.load(path, weights_only=True)
    first = next(iter(state))
    state[first] = state[first] + 1
    torch.save(state, path)
    again = zoo_checks.workflow(bundle, "infer", "inference.json", device="cpu")
    again.initialize()
    assert torch.equal(again.network_def.state_dict()[first], state[first])


def command(bundle: Path, *words: object, launcher: tuple[str, ...] = ("-m", "monai.bundle")) -> None:
    line = [sys.executable, *launcher, "run", "--bundle_root", str(bundle), "--device", "$torch.device('cpu')"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run([*line, *map(str, words)], capture_output=True, text=True, cwd=bundle, env=environment)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "classes"),
    [
        pytest.param("lungs", 1, marks=pytest.mark.minutes),
        pytest.param("lungs, heart", 2, marks=pytest.mark.minutes),
        ("['lungs', 'a bright heart']", 2),
    ],
)
def test_the_command_line_takes_the_text_and_an_image(bundle, tiny_preset, tmp_path, text, classes):
    image = tmp_path / "my image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90), dtype=np.uint8)).save(image)
    command(
        bundle, "--config_file", "configs/inference.json", "--text", text, "--image", image, "--preset", tiny_preset
    )
    labels = np.array(Image.open(bundle / "eval" / "my image_mask.png"))
    assert labels.shape == (60, 90) and labels.max() <= classes


@pytest.mark.minutes
def test_two_processes_share_the_images(bundle, tiny_preset):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "monai.bundle")
    configs = "['configs/inference.json', 'configs/multi_gpu_inference.json']"
    command(bundle, "--config_file", configs, "--preset", tiny_preset, launcher=launcher)
    assert len(list((bundle / "eval").glob("*_mask.png"))) == 6


def test_the_texts_of_the_metadata_name_what_the_package_pins():
    metadata = json.loads((zoo_checks.BUNDLES / NAME / "configs" / "metadata.json").read_text())
    assert {"open_clip_torch", "segment-anything", "pytorch-ignite"} <= metadata["required_packages_version"].keys()
