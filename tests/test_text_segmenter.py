from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from medclipsam_monai import TextSegmenter
from medclipsam_monai.errors import InputError
from medclipsam_monai.presets import load_preset, preset_names


@pytest.fixture(scope="module")
def segmenter(tiny_preset):
    return TextSegmenter.from_preset(tiny_preset, device="cpu")


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)


def test_an_array_a_tensor_and_a_file_of_one_picture_give_one_mask(segmenter, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "p.png")
    from_file = segmenter(tmp_path / "p.png", "lungs")
    from_array = segmenter(pixels, "lungs")
    from_tensor = segmenter(torch.from_numpy(pixels).permute(2, 0, 1), "lungs")
    for other in (from_array, from_tensor):
        assert torch.equal(other.label_map, from_file.label_map)
    assert from_file.label_map.shape == (30, 50)


def test_a_run_repeats_itself_exactly(segmenter, pixels):
    first, second = segmenter(pixels, ["lungs", "heart"]), segmenter(pixels, ["lungs", "heart"])
    assert torch.equal(first.found.saliency, second.found.saliency)
    assert torch.equal(first.found.probability, second.found.probability)


@pytest.mark.parametrize("array", [np.zeros((3,)), np.zeros((2, 8, 8, 8)), np.zeros((8, 8, 5))])
def test_an_array_that_is_no_picture_is_refused(segmenter, array):
    with pytest.raises(InputError, match="a picture must be an array"):
        segmenter(array, "lungs")


def test_every_preset_that_ships_is_whole():
    assert {"demo", "biomedclip_sam_b", "biomedclip_sam_l", "biomedclip_sam_h", "biomedclip_medsam"} <= set(
        preset_names()
    )
    for name in preset_names():
        preset = load_preset(name)
        assert preset.with_settings({"prompts.points": 5}).prompts["points"] == 5
        assert preset.parameters.keys() >= {"saliency", "coarse", "prompts"}


@pytest.mark.parametrize("key", ["gamma", "saliency", "name", "threshold.x", "nothing.at.all"])
def test_a_setting_that_is_none_is_refused(key):
    with pytest.raises(InputError, match="unknown setting"):
        load_preset("demo").with_settings({key: 1})


def test_a_record_says_how_far_sam_moved_the_coarse_mask_and_how_much_is_covered(segmenter, pixels):
    answer = segmenter(pixels, "lungs")
    left, right = torch.zeros(2, 1, 30, 50, dtype=torch.bool)
    left[:, :10, :10], right[:, :10, 5:10] = True, True
    found = replace(answer.found, coarse=left, mask=right, probability=right.float())
    (entry,) = replace(answer, found=found).record([])["classes"]
    assert entry["agreement"] == pytest.approx(2 * 50 / 150) and entry["fraction"] == pytest.approx(50 / 1500)
    nothing = replace(found, coarse=left & False, mask=left & False)
    (entry,) = replace(answer, found=nothing).record([])["classes"]
    assert (entry["agreement"], entry["fraction"]) == (None, 0)
