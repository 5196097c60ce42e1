"""The shipped small weights, held to floors: on phantoms, and on real images that training never saw."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from phantom_floors import chosen_phantoms, means, segmented

from medclipsam_monai.phantoms import TASKS
from medclipsam_monai.presets.preset import load_preset
from medclipsam_monai.zero_shot.build import build_network
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter
from tools.small.measure import TASKS as REAL_TASKS
from tools.small.measure import Scores, read_task, score

DATA = Path(__file__).parents[4] / "shared" / "data"
MARGIN = 0.9
ON_PHANTOMS = {
    ("breast_ultrasound", "cyst"): 0.98,
    ("breast_ultrasound", "benign tumour"): 0.97,
    ("breast_ultrasound", "malignant tumour"): 0.93,
    ("brain_mri", "ventricles"): 0.93,
    ("chest_xray", "lungs"): 0.96,
    ("chest_xray", "heart"): 0.95,
    ("chest_xray", "pacemaker"): 0.95,
    ("chest_xray", "pleural effusion"): 0.87,
    ("chest_ct", "lungs"): 0.96,
    ("chest_ct", "liver"): 0.97,
    ("chest_ct", "kidneys"): 0.95,
    ("chest_ct", "heart"): 0.98,
}
"""Mean DSC over the first five phantoms of SAMPLES that show the target, the best of any weights shipped; the floor is
MARGIN times that."""
ON_IMAGES = {
    "fetal_head_ultrasound": 0.96,
    "left_ventricle_mri": 0.75,
    "liver_ct": 0.74,
    "cell_nuclei_microscopy": 0.83,
    "blood_vessel_ultrasound": 0.61,
    "nerve_ultrasound": 0.50,
    "hippocampus_mri": 0.88,
    "breast_ultrasound": 0.81,
    "breast_ultrasound_busi": 0.70,
    "brain_mri": 0.56,
    "lung_xray": 0.87,
    "lung_ct": 0.96,
}
"""Mean DSC by text over twelve held-out images of a task, the best of any weights shipped; the floor is MARGIN times
that."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def on_phantoms(tmp_path_factory):
    segmenter = TextSegmenter.from_preset("small", device="cpu")
    phantoms = [phantom for task in TASKS for phantom in chosen_phantoms(task, ON_PHANTOMS)]
    return means(segmented(segmenter, phantoms, ON_PHANTOMS, tmp_path_factory.mktemp("floor")))


@pytest.mark.parametrize("pair", ON_PHANTOMS, ids=", ".join)
def test_phantoms_are_still_known(on_phantoms, pair):
    assert on_phantoms.keys() == ON_PHANTOMS.keys()
    assert on_phantoms[pair] >= MARGIN * ON_PHANTOMS[pair]


@pytest.mark.skipif(not (DATA / "open").is_dir(), reason="the folder of real images is not beside the project")
@pytest.mark.parametrize("name", ON_IMAGES)
def test_real_images_that_training_never_saw(name):
    (task,) = [task for task in REAL_TASKS if task.name == name]
    preset = load_preset("small")
    network = build_network(preset.for_task(task.prompts if task.prompts in preset.tasks else None), "cpu")
    found = Scores()
    with torch.inference_mode():
        for _, picture in read_task(DATA, task, "test", 12):
            score(network, picture, [task.text], task.concept, found)
    assert len(found.dice["text"]) >= 10
    assert found.mean("text") >= MARGIN * ON_IMAGES[name]


def test_the_preset_says_what_its_weights_know():
    preset = load_preset("small")
    assert preset.licence == "CC-BY-SA-4.0" and preset.knows["fetal ultrasound"] == ["fetal head"]
    asked = TextSegmenter.from_preset("small", "cpu").request({"a": "fetal head", "b": "the liver"})
    assert all(near.familiar for near in asked.nearest) and asked.strange == []


@pytest.mark.parametrize("text", ["hello world", "knee meniscus", "optic disc", "a dog on a beach", "zorp blimfle"])
def test_what_they_do_not_know_is_strange(text):
    assert len(TextSegmenter.from_preset("small", "cpu").request(text).strange) == 1
