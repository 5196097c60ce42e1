"""Whether a picture shows what a text names: decided without opposites, recorded, and put aside by --always."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.phantoms import make_phantom
from medclipsam_monai.phantoms.seeds import SAMPLES
from medclipsam_monai.presets import load_preset
from medclipsam_monai.presets.parameters import PresenceParameters
from medclipsam_monai.prompts import parse_targets
from medclipsam_monai.zero_shot.presence import CalibratedPresence
from medclipsam_monai.zero_shot.volumes.segment import segment_volume

KNOWS = {"chest X-ray": ["lungs", "heart"], "breast ultrasound": ["cyst"], "brain MRI": ["ventricles"]}
FACTORS = {"bias": -0.5, "text": 1.5, "denial": 8.0, "known": 2.0}


def preset_file(folder: Path, **more: object) -> Path:
    path = folder / "mine.json"
    content = {"extends": "demo", "knows": KNOWS, "stranger_below": 0.3, "presence": FACTORS}
    path.write_text(json.dumps({**content, **more}))
    return path


@pytest.fixture(scope="module")
def preset(tmp_path_factory) -> Path:
    return preset_file(tmp_path_factory.mktemp("preset"))


@pytest.fixture(scope="module")
def chest() -> np.ndarray:
    (seed,) = SAMPLES.seeds(1, 30)
    image = (make_phantom("chest_xray", seed, captions=0).image * 255).round().astype(np.uint8)
    return np.repeat(image[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def segmenter(preset) -> TextSegmenter:
    return TextSegmenter.from_preset(preset, "cpu")


def test_the_probability_is_the_logistic_function_of_three_comparisons():
    known = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    pictures = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    texts, denials = torch.tensor([[0.8, 0.6]]), torch.tensor([[0.0, 1.0]])
    parameters = PresenceParameters(bias=-0.5, text=1.5, denial=8.0, known=2.0, familiar=0.7)
    found = CalibratedPresence(parameters, known)(pictures, texts, denials)
    start = -0.5 + 0.7 * 0.96  # 0.96 is the cosine of the text and the second that is known
    expected = [start + 1.5 * 0.8 + 8 * (0.8 - 0) + 2 * (0.8 - 1), start + 1.5 * 0.6 + 8 * (0.6 - 1) + 2 * (0.6 - 0.8)]
    assert found[:, 0].tolist() == pytest.approx([1 / (1 + np.exp(-z)) for z in expected])


def test_slices_of_volumes_have_factors_of_their_own(segmenter, chest):
    network = copy.copy(segmenter.network)
    given = network.calibrated_presence
    assert given.of_slices is given
    network.calibrated_presence = CalibratedPresence(given.parameters, given.known, PresenceParameters(bias=-0.4))
    picture = torch.from_numpy(chest.transpose(2, 0, 1).astype(np.float32) / 255)
    images, texts = network.encode_images(picture[None]), network.encode_texts(parse_targets(["lungs", "cyst"]))
    assert network.presence(images, texts)[0] == segmenter.network.presence(images, texts)[0]
    odds = 1 / (1 + np.exp(0.4))
    assert network.presence(images, texts, slices=True) == [pytest.approx((odds, odds))]
    result = segment_volume(network, picture[..., None].expand(-1, -1, -1, 3), texts)
    assert result.presence == pytest.approx((odds, odds), abs=1e-4)


def test_given_opposites_decide_in_slices_too(segmenter, chest):
    network = copy.copy(segmenter.network)
    given = network.calibrated_presence
    network.calibrated_presence = CalibratedPresence(given.parameters, given.known, PresenceParameters(bias=-0.4))
    picture = torch.from_numpy(chest.transpose(2, 0, 1).astype(np.float32) / 255)
    images, texts = network.encode_images(picture[None]), network.encode_texts(parse_targets("lungs", "no lungs"))
    assert network.presence(images, texts, slices=True) == network.presence(images, texts)


def test_what_is_there_is_painted_and_what_is_not_is_empty(segmenter, chest):
    found = segmenter(chest, ["lungs", "cyst"]).found
    assert found.presence[0] > 0.9 and found.mask[0].any()
    assert found.presence[1] < 0.1 and not found.mask[1].any() and not found.coarse[1].any()
    assert found.quality[1] is None and len(found.boxes[1]) == 0
    assert found.saliency[1].max() == 1  # what the text lit up can still be looked at


def test_the_encoders_own_vectors_decide(segmenter, chest):
    encoder = segmenter.network.encoder
    picture = torch.from_numpy(chest.transpose(2, 0, 1).astype(np.float32) / 255)[None]
    names = [name for of in KNOWS.values() for name in of]
    known = encoder.encode_text([*names, *(f"{kind} showing the {name}" for kind, of in KNOWS.items() for name in of)])
    image, text, denial = encoder.encode_image(picture)[0], *encoder.encode_text(["cyst", "no cyst"])
    fit = image @ text
    z = -0.5 + 1.5 * fit + 8 * (fit - image @ denial) + 2 * (fit - (known @ image).max())
    assert segmenter(chest, "cyst").found.presence[0] == pytest.approx(float(z.sigmoid()), abs=1e-3)


def test_given_opposites_decide_in_its_place(segmenter, chest):
    asked = {"lungs": {"sentences": "lungs", "opposites": "no lungs"}, "cyst": "cyst"}
    found, bare = segmenter(chest, asked).found, segmenter(chest, ["lungs", "cyst"]).found
    assert found.presence[0] != pytest.approx(bare.presence[0], abs=1e-6)
    assert found.presence[1] == pytest.approx(bare.presence[1], abs=1e-6)


def test_a_sentence_that_just_fits_can_be_denied(segmenter, chest):
    words = ["lungs"]
    while True:
        try:
            segmenter.network.encoder.encode_text([" ".join([*words, "lungs"])])
        except InputError:
            break
        words.append("lungs")
    assert 0 <= segmenter(chest, " ".join(words)).found.presence[0] <= 1


def test_absent_ones_cost_no_embedding(segmenter, chest, monkeypatch):
    asked = []
    real = segmenter.network.segmenter.encode
    monkeypatch.setattr(segmenter.network.segmenter, "encode", lambda image: asked.append(len(image)) or real(image))
    segmenter(chest, "cyst")
    assert asked == []
    segmenter(chest, ["cyst", "lungs"])
    assert asked == [1]


def test_the_command_line_says_absent_and_how_to_paint_it_all_the_same(command, preset, chest, tmp_path):
    Image.fromarray(chest).save(tmp_path / "a.png")
    words = ("segment", tmp_path / "a.png", "--text", "cyst", "--preset", preset, "--device", "cpu", "--output")
    code, out, _ = command(*words, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    (entry,) = record["classes"]
    assert code == 0
    assert f"cyst absent (presence {entry['presence']:.2f}; --always makes a mask all the same)" in out
    assert entry["pixels"] == 0 and entry["size"] is None and "likely not there" in entry["size_reason"]
    code, out, _ = command(*words, tmp_path / "always", "--always")
    record = json.loads((tmp_path / "always" / "a.json").read_text())
    assert code == 0 and "absent" not in out
    assert record["parameters"]["presence_threshold"] == 0
    assert record["classes"][0]["pixels"] > 0 and record["classes"][0]["presence"] == entry["presence"]
    assert record["classes"][0]["size"] is None  # a size of what is likely not there would be read as a finding


def test_other_factors_are_another_request(preset, tmp_path):
    segmenter = TextSegmenter.from_preset(preset, "cpu")
    other = TextSegmenter.from_preset(preset_file(tmp_path, presence={**FACTORS, "bias": 0.1}), "cpu")
    asked = [one.request("lungs") for one in (segmenter, other)]
    assert asked[0].parameters["presence"] == FACTORS and asked[0].key("x") != asked[1].key("x")


def test_weights_of_ones_own_have_no_calibration(preset):
    other = load_preset(preset).with_settings({"clip": "small/clip"})
    assert other.presence == {} and load_preset(preset).presence == FACTORS


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"presence": {"slope": 2}}, "presence.slope is no parameter of the presence, which take bias, text"),
        ({"presence": {"bias": "much"}}, "presence.bias must be a number from -1,000 to 1,000, got 'much'"),
        ({"presence": {"bias": float("inf")}}, "presence.bias must be"),
        ({"knows": {}}, "presence needs knows"),
        ({"presence": [1, 2]}, "presence must be"),
    ],
)
def test_a_preset_that_cannot_be_is_named(tmp_path, more, message):
    with pytest.raises(InputError, match=message):
        load_preset(preset_file(tmp_path, **more))
