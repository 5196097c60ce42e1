"""A preset file that names a network of transformers segments from end to end: facade, command line and record."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from encoder_folders import write_encoder
from PIL import Image
from promptable_networks import SETTINGS, write_network

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.transformers_sam.segmenter import TransformersSegmenter
from medclipsam_monai.phantoms import make_phantom
from medclipsam_monai.presets import load_preset
from medclipsam_monai.weights.entries import known_weights
from medclipsam_monai.weights.registry import weight_hash


@pytest.fixture(scope="module", params=SETTINGS)
def folder(request, tmp_path_factory):
    return write_network(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def preset(folder, tiny_preset, tmp_path_factory):
    path = tmp_path_factory.mktemp("preset") / "other.json"
    content = {"extends": str(tiny_preset), "sam": str(folder), "segmenter": "transformers_sam"}
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def segmenter(preset):
    return TextSegmenter.from_preset(preset, device="cpu")


@pytest.fixture(scope="module")
def phantom():
    return make_phantom("chest_xray", 1)


def test_a_phantom_is_segmented(segmenter, phantom, folder):
    assert type(segmenter.network.segmenter) is TransformersSegmenter
    assert segmenter.weights["sam"] == weight_hash(folder)
    found = segmenter(phantom.image, ["lungs", "heart"]).found
    assert found.mask.shape == found.probability.shape == (2, 256, 256)
    assert bool(((found.probability >= 0) & (found.probability <= 1)).all())
    assert found.coarse.any() and all(quality is not None for quality in found.quality)


def test_the_probability_is_what_the_network_says_of_the_chains_boxes(segmenter, phantom):
    picture = torch.from_numpy(phantom.image).expand(1, 3, -1, -1)
    found = segmenter.network.segment(picture, "lungs")[0]
    network = segmenter.network.segmenter
    probability, quality = network.decode(network.encode(picture)[0], found.boxes[0])
    torch.testing.assert_close(found.probability[0], probability[:, 0].amax(dim=0))
    assert found.quality[0] == pytest.approx(float(quality.mean()))


def test_fusion_takes_the_three_answers(segmenter, phantom):
    picture = torch.from_numpy(phantom.image).expand(1, 3, -1, -1)
    found = segmenter.network.with_settings({"fusion": "mean"}).segment(picture, "lungs")[0]
    network = segmenter.network.segmenter
    three, _ = network.decode(network.encode(picture)[0], found.boxes[0], multimask=True)
    torch.testing.assert_close(found.probability[0], three.mean(dim=1).amax(dim=0))


def test_the_command_line_writes_mask_and_record(preset, phantom, run, tmp_path, folder):
    image = tmp_path / "chest.png"
    Image.fromarray((phantom.image * 255).astype(np.uint8)).save(image)
    code, out, err = run(image, "--text", "lungs", preset=preset)
    assert (code, err) == (0, "") and "1 done" in out
    record = json.loads((tmp_path / "out" / "chest.json").read_text())
    assert record["parameters"]["segmenter"] == "transformers_sam"
    assert record["weights"]["sam"] == weight_hash(folder)
    assert Image.open(tmp_path / "out" / "chest_mask.png").size == (256, 256)


def test_the_command_line_takes_another_segmenter_for_a_preset(phantom, run, tmp_path):
    folder = write_network(tmp_path / "network", "Sam2")
    image = tmp_path / "chest.png"
    Image.fromarray((phantom.image * 255).astype(np.uint8)).save(image)
    code, out, err = run(image, "--text", "lungs", "--sam", folder, "--set", "segmenter=transformers_sam")
    assert (code, err) == (0, "") and "1 done" in out


PAIRS = {
    "biomedclip_sam2_tiny": (None, "Sam2"),
    "biomedclip_edgetam": (None, "EdgeTam"),
    "medsiglip_sam2_base_plus": ("medsiglip", "Sam2"),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_of_the_package_runs_on_small_networks_of_its_forms(name, phantom, clip_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDCLIPSAM_HOME", str(tmp_path / "home"))
    encoder, network = PAIRS[name]
    preset = load_preset(name).with_settings({"saliency.layer": 1, "saliency.steps": 2, "saliency.samples": 1})
    places = [tmp_path / "home" / known_weights()[one].file for one in (preset.clip, preset.sam)]
    for place in places:
        with pytest.raises(InputError, match=f"weights not found: {place}; get it .*medclipsam weights download"):
            TextSegmenter.from_preset(preset, device="cpu")
        if place == places[0]:
            write_encoder(encoder, place) if encoder else shutil.copytree(clip_folder, place)
        else:
            write_network(place, network)
    segmenter = TextSegmenter.from_preset(preset, device="cpu")
    assert segmenter.weights == {role: weight_hash(place) for role, place in zip(("clip", "sam"), places, strict=True)}
    found = segmenter(phantom.image, "lungs").found
    assert found.mask.shape == (1, 256, 256) and bool(found.saliency.max() == 1)


def test_weights_of_another_kind_are_one_line(run, preset, tmp_path, clip_folder, sam_folder):
    image = tmp_path / "a.png"
    Image.fromarray(np.zeros((30, 30), np.uint8)).save(image)
    for folder, found in ((clip_folder, "has model_type 'bert'"), (sam_folder, "has no model_type")):
        other = tmp_path / "wrong.json"
        other.write_text(json.dumps({"extends": str(preset), "sam": str(folder)}))
        code, _, err = run(image, "--text", "lungs", preset=other)
        assert code == 2 and found in err and "expected one of sam2" in err
        assert "Traceback" not in err and len(err.strip().splitlines()) == 1
