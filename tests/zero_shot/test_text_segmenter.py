from __future__ import annotations

import io
import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import InputWarning
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


@pytest.mark.parametrize("image", [np.zeros((3,)), np.zeros((2, 8, 8, 8)), [[1, 2], [3, 4]], None, b"x.png"])
def test_what_is_no_image_is_refused(segmenter, image):
    with pytest.raises(InputError, match="an image in memory must be an array"):
        segmenter(image, "lungs")


def test_a_file_states_its_own_geometry(segmenter, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "p.png")
    with pytest.raises(InputError, match=r"p.png: a file states its own geometry"):
        segmenter(tmp_path / "p.png", "lungs", spacing=(1, 1))


def test_a_result_shows_itself_and_gives_its_mask_on_the_input_s_own_grid(segmenter, pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG", exif=exif)
    with pytest.warns(InputWarning, match="is turned by its EXIF tag"):
        result = segmenter(Image.open(content), ["left\nlung", "heart"])
    assert result.label_map.shape == (50, 30) and result.stored_mask().shape == (30, 50)
    np.testing.assert_array_equal(result.stored_mask(), np.rot90(result.label_map.numpy()))
    shares = [f"{float((result.label_map == k).float().mean()):.1%}" for k in (1, 2)]
    expected = f"Segmentation of image in memory, 50 x 30 pixels\nleft lung {shares[0]}, heart {shares[1]}"
    assert repr(result) == expected
    overlay = np.asarray(Image.open(io.BytesIO(result._repr_png_())))
    assert overlay.shape[1] == 180 and overlay.shape[0] > 300  # enlarged sixfold, with a legend below


def test_a_volume_in_memory_is_saved_with_its_record_on_its_own_grid(segmenter, tmp_path):
    volume = np.random.default_rng(1).integers(0, 900, (10, 9, 11)).astype(np.int16)
    affine = np.array([[0, -2.0, 0, 5], [-1.5, 0, 0, -4], [0, 0, 3.0, 7], [0, 0, 0, 1]])
    image = nib.Nifti1Image(volume, affine)
    result = segmenter(image, "lungs", slice_axis="coronal")
    result.save(tmp_path)
    saved = nib.load(tmp_path / "image_mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(saved.dataobj), result.stored_mask())
    np.testing.assert_allclose(saved.affine, affine)
    assert repr(result).startswith("Segmentation of image in memory, 11 x 9 x 10 voxels\nlungs ")
    assert repr(result).count("\n") == 1 and len(repr(result)) < 200
    record = json.loads((tmp_path / "image.json").read_text())
    assert record["input_sha256"] == result.input_sha256 != segmenter(volume, "lungs", affine=-affine).input_sha256


def test_every_preset_that_ships_is_whole():
    assert {"demo", "biomedclip_sam_b", "biomedclip_sam_l", "biomedclip_sam_h", "biomedclip_medsam"} <= set(
        preset_names()
    )
    for name in preset_names():
        preset = load_preset(name)
        assert preset.with_settings({"prompts.points": 5}).settings.prompts["points"] == 5
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
    (entry,) = replace(answer, found=found).record({})["classes"]
    assert entry["agreement"] == pytest.approx(2 * 50 / 150) and entry["fraction"] == pytest.approx(50 / 1500)
    nothing = replace(found, coarse=left & False, mask=left & False)
    (entry,) = replace(answer, found=nothing).record({})["classes"]
    assert (entry["agreement"], entry["fraction"]) == (None, 0)
