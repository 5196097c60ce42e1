"""A preset file that names an encoder of another form segments a phantom, from Python and from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from encoder_folders import KINDS, write_encoder
from PIL import Image

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.phantoms import make_phantom
from medclipsam_monai.saliency.m2ib import M2IB
from medclipsam_monai.weights.registry import weight_hash

SALIENCY = {"method": "m2ib", "layer": 1, "gamma": 0.01, "steps": 4, "samples": 2}
TEXT, OPPOSITE = "Lungs", "no lungs"


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def preset(kind, tmp_path_factory, sam_folder):
    folder = tmp_path_factory.mktemp(kind)
    content = {
        "description": "an encoder of another form with random weights",
        "encoder": KINDS[kind][0],
        "clip": str(write_encoder(kind, folder / "encoder")),
        "sam": str(sam_folder),
        "saliency": SALIENCY,
    }
    (folder / "preset.json").write_text(json.dumps(content))
    return folder / "preset.json"


@pytest.fixture(scope="module")
def phantom():
    picture = make_phantom("chest_xray", 3).image
    return np.round(255 * np.asarray(picture, dtype=np.float32) / picture.max()).astype(np.uint8)


@pytest.fixture(scope="module")
def segmenter(preset):
    return TextSegmenter.from_preset(preset, device="cpu").with_settings({"presence_threshold": 0.0})


def test_a_text_finds_what_its_saliency_says(segmenter, phantom):
    found = segmenter(phantom, TEXT).found
    assert found.mask.shape == (1, *phantom.shape) and found.mask.any()
    encoder = segmenter.network.encoder
    picture = torch.from_numpy(phantom / np.float32(255)).expand(1, 3, -1, -1)
    options = {name: value for name, value in SALIENCY.items() if name != "method"}
    expected = M2IB(**options)(encoder, picture, encoder.encode_text([TEXT]))[0, 0]
    spread = torch.corrcoef(torch.stack([found.saliency[0].flatten(), expected.flatten()]))[0, 1]
    assert float(spread) > 0.9, "DisplayRange cuts the last percents of the grey values"


def test_presence_is_the_logistic_of_the_difference_whatever_the_bias(segmenter, phantom):
    opened = segmenter.open(phantom)
    presence = opened(TEXT, opposites=[OPPOSITE]).found.presence[0]
    encoder = segmenter.network.encoder
    image = opened_vector(opened)
    text, opposite = (image @ encoder.encode_text([words])[0] for words in (TEXT, OPPOSITE))
    scale, bias = float(encoder.logit_scale), float(encoder.logit_bias)
    odds = (scale * text + bias) - (scale * opposite + bias)
    assert presence == pytest.approx(float(torch.sigmoid(odds)), abs=1e-4)
    assert abs(presence - 0.5) > 1e-4


@pytest.mark.parametrize("method", ["gscorecam", "gradcam"])
def test_the_other_saliency_methods_run_in_the_chain(segmenter, phantom, method):
    found = segmenter.with_settings({"saliency.method": method})(phantom, TEXT).found
    assert found.saliency.isfinite().all() and found.mask.shape == (1, *phantom.shape)


def test_a_volume_is_segmented(segmenter, phantom):
    volume = np.stack([phantom[::4, ::4]] * 3, axis=-1)
    mask = segmenter(volume, TEXT, spacing=(1, 1, 5)).found.mask
    assert mask.shape == (1, *volume.shape)


def test_the_command_line_gives_the_same_mask_and_says_what_ran(command, preset, segmenter, phantom, kind, tmp_path):
    Image.fromarray(phantom).save(tmp_path / "chest.png")
    code, out, err = command(
        "segment",
        tmp_path / "chest.png",
        "--text",
        TEXT,
        "--preset",
        preset,
        "--device",
        "cpu",
        "--output",
        tmp_path / "o",
    )
    assert code == 0 and "1 done, 0 skipped, 0 failed" in out, err
    mask = np.array(Image.open(tmp_path / "o" / "chest_mask.png"))
    expected = segmenter(phantom, TEXT).found.mask[0].numpy()
    assert (mask == expected).mean() > 0.999
    record = json.loads((tmp_path / "o" / "chest.json").read_text())
    assert record["parameters"]["encoder"] == KINDS[kind][0]
    assert record["weights"]["clip"] == weight_hash(preset.parent / "encoder")


def test_the_encoder_may_be_chosen_on_the_command_line(command, preset, tiny_preset, phantom, kind, tmp_path):
    Image.fromarray(phantom).save(tmp_path / "chest.png")
    words = ["segment", tmp_path / "chest.png", "--text", TEXT, "--preset", tiny_preset, "--device", "cpu"]
    words += ["--output", tmp_path / "o", "--clip", preset.parent / "encoder", "--set", "saliency.layer=1"]
    code, _, err = command(*words, "--set", f"encoder={KINDS[kind][0]}")
    assert code == 0, err
    wrong = {"clip": "transformers", "transformers": "clip"}[KINDS[kind][0]]
    code, _, err = command(*words, "--set", f"encoder={wrong}")
    assert code == 2 and "encoder" in err and len(err.splitlines()) == 1


def test_a_layer_that_is_not_there_is_named(segmenter):
    with pytest.raises(InputError, match="under 3, this CLIP's number of blocks, got 9"):
        segmenter.with_settings({"saliency.layer": 9})


def opened_vector(opened):
    """The unit vector of the picture as the chain sees it."""
    return opened.encoded().vectors()[0]
