"""The chain by labelled examples: what is found, what is asked of a text, and what the record says."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from network_doubles import BoxSegmenter, BrightnessEncoder
from PIL import Image

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.examples import Examples
from medclipsam_monai.presets.settings import Settings
from medclipsam_monai.prompts import WordlessTarget
from medclipsam_monai.zero_shot.examples.network import CUT, ExampleSegmenter
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter


def square(row, column, light=0.9, side=64):
    picture, mask = torch.full((3, side, side), 0.2), torch.zeros(side, side, dtype=torch.bool)
    mask[row : row + 16, column : column + 16] = True
    picture[:, mask] = light
    return picture, mask


EXAMPLES = Examples(*zip(square(8, 8), square(40, 24), strict=True))


@pytest.fixture(scope="module")
def network():
    settings = Settings(
        saliency={"method": "m2ib", "layer": 0}, coarse={"threshold": "otsu", "components": "confident"}
    )
    return ExampleSegmenter(ZeroShotSegmenter(BrightnessEncoder(), BoxSegmenter(), settings), EXAMPLES)


def test_what_looks_like_the_examples_is_segmented(network):
    picture, mask = square(16, 40, 0.8)
    texts = network.encode_texts((WordlessTarget(),))
    (found,) = network.segment_encoded(network.encode_images(picture[None]), texts)
    dice = 2 * (found.mask[0] & mask).sum() / (found.mask[0].sum() + mask.sum())
    assert dice > 0.85
    assert found.presence == (None,)
    assert found.names == ("examples",)


def test_a_picture_that_shows_nothing_of_the_kind_gets_no_mask(network):
    (found,) = network.segment(torch.full((1, 3, 64, 64), 0.2), WordlessTarget())
    assert not found.mask.any()


def test_settings_are_changed_and_the_examples_stay(network):
    strict = network.with_settings({"coarse.threshold": 0.999})
    assert strict.saliency is network.saliency  # nothing is encoded again
    other = network.with_settings({"examples.background": 1})
    assert other.saliency is not network.saliency and other.told["background"] == 1
    assert network.settings.coarse["threshold"] == CUT["coarse.threshold"]
    with pytest.raises(InputError, match="prompt_ensemble=maps is for texts alone"):
        network.with_settings({"prompt_ensemble": "maps"})
    with pytest.raises(InputError, match=r"examples\.temperature must be"):
        network.with_settings({"examples.temperature": 0})


def test_the_fit_of_the_pictures_is_that_of_the_examples(network):
    letterbox = network.with_settings({"fit": "letterbox"})
    assert letterbox.encoder.fit == "letterbox" and letterbox.saliency is not network.saliency


def test_the_networks_weights_are_the_same_and_no_more(segmenter, encoder):
    plain = ZeroShotSegmenter(encoder, segmenter, Settings(saliency={"method": "gradcam"}))
    assert ExampleSegmenter(plain, EXAMPLES).state_dict().keys() == plain.state_dict().keys()


@pytest.fixture(scope="module")
def shown(tiny_preset):
    return TextSegmenter.from_preset(tiny_preset, device="cpu").with_examples(EXAMPLES)


def test_a_record_says_how_many_examples_there_were_and_their_hash(shown):
    alone = shown(square(16, 40)[0]).record({})
    assert alone["texts"] == {"examples": []}
    assert alone["parameters"]["examples"] == {
        "count": 2,
        "sha256": EXAMPLES.sha256,
        "layer": None,
        "foreground": 1,
        "background": 4,
        "temperature": 0.1,
        "text_weight": shown.network.told["text_weight"],
    }
    assert alone["parameters"]["coarse"]["threshold"] == 0.5
    assert alone["classes"][0]["presence"] is None and alone["classes"][0]["nearest_known"] is None
    assert alone["warnings"][0].startswith("examples without a text say where, not whether")


def test_with_a_text_the_text_says_what_it_is_and_whether_it_is_there(shown):
    together = shown(square(16, 40)[0], "lungs", opposites="no lungs").record({})
    assert together["texts"] == {"lungs": ["lungs"]}
    assert 0 <= together["classes"][0]["presence"] <= 1
    assert not any(line.startswith("examples without") for line in together["warnings"])
    assert "examples" not in TextSegmenter(shown.network, shown.preset, {}).preset.name
    assert together["parameters"]["examples"]["count"] == 2


def test_an_ordinary_request_says_nothing_of_examples(tiny_preset):
    plain = TextSegmenter.from_preset(tiny_preset, device="cpu")
    assert "examples" not in plain.request("lungs").parameters
    with pytest.raises(InputError, match="there is no text"):
        plain.request(None)


@pytest.mark.parametrize(
    ("text", "opposites", "reason"),
    [
        (["lungs", "heart"], None, "examples show one class, got 2 in words"),
        (None, "no lungs", "an opposite is that of a text"),
    ],
)
def test_requests_that_do_not_go_together_are_refused(shown, text, opposites, reason):
    with pytest.raises(InputError, match=reason):
        shown(square(16, 40)[0], text, opposites)


def test_a_volume_is_cut_at_the_examples_level_and_empty_slices_stay_empty(network):
    empty, shown = torch.full((3, 64, 64), 0.2), square(16, 40)[0]
    stack = torch.stack([empty, empty, shown, shown, shown, empty, empty], dim=-1)
    (probability,) = network(stack[None], WordlessTarget())
    assert probability.shape == (1, 64, 64, 7)
    assert probability[0].flatten(0, 1).any(dim=0).tolist() == [False, False, True, True, True, False, False]


def test_a_folder_a_file_and_a_window(tiny_preset, tmp_path):
    (tmp_path / "e").mkdir()
    picture, mask = square(8, 8)
    Image.fromarray((picture[0].numpy() * 255).astype(np.uint8)).save(tmp_path / "e" / "a.png")
    Image.fromarray(mask.numpy().astype(np.uint8)).save(tmp_path / "e" / "a_mask.png")
    segmenter = TextSegmenter.from_preset(tiny_preset, device="cpu").with_examples(tmp_path / "e", window="full")
    written = segmenter(tmp_path / "e" / "a.png").save(tmp_path / "out")
    assert [path.name for path in written] == ["a_mask.png", "a_overlay.png", "a.json"]
    assert str(tmp_path) not in written[-1].read_text()
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 4), np.float32), np.eye(4)), tmp_path / "e" / "b.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((8, 8, 4), np.uint8), np.eye(4)), tmp_path / "e" / "b_mask.nii.gz")
    with pytest.raises(InputError, match="is a volume; an example is a picture"):
        segmenter.with_examples(tmp_path / "e")
