"""Networks of another kind take the places of CLIP and SAM by a table's entry and a preset's keys."""

from __future__ import annotations

import json

import pytest
import torch

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.presets import load_preset
from medclipsam_monai.presets.networks import ENCODERS, SEGMENTERS


@pytest.fixture
def preset(tmp_path, monkeypatch):
    monkeypatch.setitem(ENCODERS, "brightness", "network_doubles:load_encoder")
    monkeypatch.setitem(SEGMENTERS, "box", "network_doubles:load_segmenter")
    (tmp_path / "weights.bin").write_bytes(b"none are needed")
    weights = str(tmp_path / "weights.bin")
    content = {
        "description": "doubles",
        "clip": weights,
        "sam": weights,
        "encoder": "brightness",
        "segmenter": "box",
        "saliency": {"method": "m2ib", "layer": 0, "gamma": 1.0, "standardise": True},
    }
    path = tmp_path / "doubles.json"
    path.write_text(json.dumps(content))
    return path


def picture_with_a_bright_square() -> torch.Tensor:
    picture = torch.full((1, 128, 96), 20.0)
    picture[:, 48:80, 24:48] = 230.0
    return picture


def test_a_preset_chooses_networks_of_another_kind(preset):
    segmenter = TextSegmenter.from_preset(preset, device="cpu")
    assert type(segmenter.network.encoder).__name__ == "BrightnessEncoder"
    found = segmenter(picture_with_a_bright_square(), "bright").found
    expected = torch.zeros(128, 96, dtype=torch.bool)
    expected[48:80, 24:48] = True
    overlap = 2 * (found.mask[0] & expected).sum() / (found.mask[0].sum() + expected.sum())
    assert float(overlap) > 0.7, "a patch is 16 x 12 pixels, so its box may be a patch's rim too large"
    assert found.quality == (1.0,)


def test_an_image_without_a_class_token_keeps_all_its_patches(preset):
    opened = TextSegmenter.from_preset(preset, device="cpu").open(picture_with_a_bright_square())
    saliency = opened("bright").found.saliency[0]
    row, column = divmod(int(saliency.argmax()), saliency.shape[1])
    assert 48 <= row < 80 and 24 <= column < 48


def test_an_unknown_kind_is_named(preset, tmp_path):
    content = json.loads(preset.read_text())
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**content, "segmenter": "sam9"}))
    with pytest.raises(
        InputError, match=r"segmenter must be one of sam, sam_without_adapters, transformers_sam, box, got 'sam9'"
    ):
        load_preset(other)
