"""Text and clicks without a server: what is encoded how often, and where clicks land."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image
from medclipsam_monai.label.server.embedding_cache import MemoryCache
from medclipsam_monai.label.server.models import ServedModels
from medclipsam_monai.label.tasks.click_task import ClickSegmentation
from medclipsam_monai.label.tasks.clicks import read_clicks
from medclipsam_monai.label.tasks.options import split_texts
from medclipsam_monai.label.tasks.text_task import TextSegmentation, largest_components
from medclipsam_monai.networks.clip.encoder import CLIPEncoder


@pytest.fixture
def models(tmp_path):
    return ServedModels(tmp_path / "model", "cpu")


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return str(tmp_path / "picture.png")


@pytest.fixture
def encoded(models):
    """How many pictures went through SAM's encoder."""
    counted = []
    encoder = models.text_segmenter("demo").network.segmenter.sam.image_encoder
    encoder.register_forward_hook(lambda module, inputs, output: counted.append(len(output)))
    return counted


def test_a_picture_is_encoded_once_for_texts_methods_and_clicks(models, picture, encoded):
    text, click = TextSegmentation(models), ClickSegmentation(models)
    text({"image": picture, "text": "lungs"})
    text({"image": picture, "text": "heart", "threshold": 0.3})
    text({"image": picture, "text": "heart", "method": "gradcam"})
    click({"image": picture, "foreground": [[30, 20]]})
    click({"image": picture, "background": [[1, 1]], "text": "lungs"})
    assert encoded == [1]


def test_a_cached_picture_gives_the_same_mask(models, picture, tmp_path):
    text = TextSegmentation(models)
    first, _ = text({"image": picture, "text": "lungs"})
    second, _ = text({"image": picture, "text": "lungs"})
    fresh, _ = TextSegmentation(ServedModels(tmp_path / "other", "cpu"))({"image": picture, "text": "lungs"})
    masks = [np.asarray(Image.open(file)) for file in (first, second, fresh)]
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks[0], masks[2])


def test_another_content_of_the_same_file_is_encoded_anew(models, picture, encoded):
    text = TextSegmentation(models)
    text({"image": picture, "text": "lungs"})
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(picture)
    text({"image": picture, "text": "lungs"})
    assert encoded == [1, 1]


def test_a_second_text_takes_clips_tokens_from_the_cache(models, picture, monkeypatch):
    passes: list[int] = []
    encode = CLIPEncoder.tokens_of_input

    def counted(self, x, block):
        passes.append(len(x))
        return encode(self, x, block)

    monkeypatch.setattr(CLIPEncoder, "tokens_of_input", counted)
    text = TextSegmentation(models)
    for words in ("lungs", "heart", "lungs; heart"):
        text({"image": picture, "text": words})
    assert passes == [1]
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(picture)
    text({"image": picture, "text": "lungs"})
    assert passes == [1, 1]


def test_volumes_are_kept_slice_by_slice_within_the_bound(models, tmp_path, encoded):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 6)).astype(np.float32)
    pixels[..., 5] = pixels[..., 0]
    nib.save(nib.Nifti1Image(pixels, np.eye(4)), tmp_path / "volume.nii.gz")
    request = {"image": str(tmp_path / "volume.nii.gz"), "text": "lungs", "window": "full"}
    TextSegmentation(models)(request)
    assert sum(encoded) == 5
    one, rest = divmod(models.cache.bytes, 5)
    assert one > 0 and rest == 0
    small = ServedModels(tmp_path / "small", "cpu", cache_bytes=5 * one // 2)  # an eighth of it is for CLIP
    TextSegmentation(small)(request)
    assert small.cache.bytes == 2 * one


def test_the_longest_unused_value_goes_first():
    cache: MemoryCache[str] = MemoryCache(10)
    for key in "ab":
        cache.put(key, key, 5)
    assert cache.get("a") == "a"
    cache.put("c", "c", 5)
    assert [cache.get(key) for key in "abc"] == ["a", None, "c"]
    cache.put("d", "d", 11)
    assert cache.get("d") is None and cache.bytes == 10


def test_methods_and_presets_share_weights(models):
    plain, other = models.text_segmenter("demo"), models.text_segmenter("demo", "gradcam")
    assert plain is models.text_segmenter("demo") and plain is not other
    assert plain.network.encoder is other.network.encoder and plain.network.segmenter is other.network.segmenter
    assert other.preset.settings.saliency["method"] == "gradcam"
    with pytest.raises(InputError, match="unknown saliency method"):
        models.text_segmenter("demo", "magic")


def test_texts_are_separated_by_semicolons():
    assert split_texts("lungs; heart=a big heart ;") == ["lungs", "heart=a big heart"]
    assert split_texts({"lungs": "both lungs"}) == {"lungs": "both lungs"}


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SPL"])
def test_ohif_gets_plain_16_bit_nrrd_at_the_same_place(models, tmp_path, codes):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 25, 26)).astype(np.float32)
    affine = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(codes), pixels.shape) @ np.diag([1, 2, 3, 1])
    nib.save(nib.Nifti1Image(pixels, affine), tmp_path / "volume.nii.gz")
    request = {"image": str(tmp_path / "volume.nii.gz"), "roi": [5, 5, 20, 20, 3, 12]}
    plain, _ = ClickSegmentation(models)(request)
    ohif = {"result_extension": ".nrrd", "result_dtype": "uint16", "result_compress": False}
    nrrd, _ = ClickSegmentation(models)({**request, **ohif})
    images = [sitk.ReadImage(file) for file in (plain, nrrd)]
    assert images[1].GetPixelIDTypeAsString() == "16-bit unsigned integer"
    assert b"encoding: raw" in Path(nrrd).read_bytes()[:500]
    masks = [sitk.GetArrayFromImage(image) for image in images]
    assert masks[0].any() and (masks[0] == masks[1]).all()
    for get in (sitk.Image.GetOrigin, sitk.Image.GetDirection, sitk.Image.GetSpacing):
        np.testing.assert_allclose(get(images[0]), get(images[1]), atol=1e-5)


def test_a_form_that_does_not_fit_is_refused(models, tmp_path, picture):
    nib.save(nib.Nifti1Image(np.eye(16)[..., None].repeat(3, -1).astype(np.float32), np.eye(4)), tmp_path / "v.nii.gz")
    request = {"image": str(tmp_path / "v.nii.gz"), "roi": [2, 2, 9, 9]}
    with pytest.raises(InputError, match="is for pictures"):
        ClickSegmentation(models)({**request, "result_extension": ".png"})
    with pytest.raises(InputError, match="result_extension must be one of"):
        ClickSegmentation(models)({"image": picture, "roi": [2, 2, 9, 9], "result_extension": ".exe"})


def test_the_largest_component_of_each_class_stays():
    labels = torch.tensor([[1, 0, 1, 1], [2, 0, 0, 0], [2, 0, 2, 0]], dtype=torch.uint8)
    kept = torch.tensor([[0, 0, 1, 1], [2, 0, 0, 0], [2, 0, 0, 0]], dtype=torch.uint8)
    torch.testing.assert_close(largest_components(labels, 2), kept)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SPL"])
def test_clicks_in_the_files_index_land_on_the_same_voxel(tmp_path, codes):
    values = np.random.default_rng(1).permutation(9 * 10 * 11).reshape(9, 10, 11).astype(np.float32)
    orientation = nib.orientations.axcodes2ornt(codes)
    affine = nib.orientations.inv_ornt_aff(orientation, values.shape)
    nib.save(nib.Nifti1Image(values, affine), tmp_path / "volume.nii.gz")
    image = read_image(tmp_path / "volume.nii.gz")
    point = [2, 7, 4]
    ((number, clicked),) = read_clicks({"foreground": [point]}, image.meta["geometry"]).items()
    column, row = map(int, clicked.points[0])
    assert float(image[0, row, column, number]) == values[2, 7, 4]


def test_a_pictures_clicks_are_columns_first(picture):
    geometry = read_image(picture).meta["geometry"]
    (clicked,) = read_clicks({"foreground": [[59, 0]], "roi": [50, 30, 10, 5]}, geometry).values()
    assert clicked.points == [(59.0, 0.0)] and clicked.box == (10.0, 5.0, 50.0, 30.0)
    with pytest.raises(InputError, match="outside"):
        read_clicks({"foreground": [[0, 59]]}, geometry)
