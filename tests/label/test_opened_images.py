"""Images that stay open: what is read, encoded and computed how often, and within which bounds."""

from __future__ import annotations

import os

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.label.active.disagreement import prompt_disagreement
from medclipsam_monai.label.active.embeddings import image_embedding
from medclipsam_monai.label.models import ServedModels
from medclipsam_monai.label.tasks.click_task import ClickSegmentation
from medclipsam_monai.label.tasks.text_task import TextSegmentation
from medclipsam_monai.networks.clip.encoder import CLIPEncoder
from medclipsam_monai.networks.sam.segmenter import SAMSegmenter
from medclipsam_monai.prompts import parse_targets
from medclipsam_monai.saliency.m2ib import M2IB
from medclipsam_monai.zero_shot.one_image import reading


@pytest.fixture
def models(tmp_path):
    return ServedModels(tmp_path / "model", "cpu")


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return str(tmp_path / "picture.png")


class Counted:
    """How often images were read, pictures went through the networks' encoders, and maps of saliency were made."""

    def __init__(self) -> None:
        self.read = self.sam = self.clip = self.saliency = 0

    @property
    def all(self) -> tuple[int, int, int, int]:
        return self.read, self.sam, self.clip, self.saliency


@pytest.fixture
def counted(monkeypatch):
    count = Counted()

    def counting(owner, method, name, size):
        original = getattr(owner, method)

        def counts(*words, **options):
            setattr(count, name, getattr(count, name) + size(*words))
            return original(*words, **options)

        monkeypatch.setattr(owner, method, counts)

    counting(reading, "read_image", "read", lambda *_: 1)
    counting(SAMSegmenter, "encode", "sam", lambda _, pictures: len(pictures))
    counting(CLIPEncoder, "tokens_of_input", "clip", lambda _, x, block: len(x))
    counting(M2IB, "grids", "saliency", lambda _, tokens, text: len(tokens.image) * len(text))
    return count


@pytest.fixture
def volume(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 8)).astype(np.float32)
    nib.save(nib.Nifti1Image(pixels, np.eye(4)), tmp_path / "volume.nii.gz")
    return str(tmp_path / "volume.nii.gz")


def test_a_picture_is_read_and_encoded_once_for_texts_thresholds_and_clicks(models, picture, counted):
    text, click = TextSegmentation(models, preset="demo"), ClickSegmentation(models, "demo")
    text({"image": picture, "text": "lungs"})
    assert counted.all == (1, 1, 1, 1)
    text({"image": picture, "text": "lungs", "threshold": 0.3})
    text({"image": picture, "text": "lungs"})
    assert counted.all == (1, 1, 1, 1)
    text({"image": picture, "text": "heart"})
    text({"image": picture, "text": "lungs; heart"})
    assert counted.all == (1, 1, 1, 2)
    click({"image": picture, "foreground": [[30, 20]]})
    click({"image": picture, "background": [[1, 1]], "text": "lungs"})
    assert counted.all == (1, 1, 1, 2)
    segmenter = models.text_segmenter("demo")
    opened = models.open(segmenter, picture, keep=False)
    prompt_disagreement(segmenter, opened, parse_targets("lungs"))
    assert counted.all == (1, 1, 1, 5)  # of its four wordings one is the text that was asked
    image_embedding(opened)
    assert (counted.read, counted.sam, counted.clip) == (1, 1, 1)


def test_another_method_encodes_for_the_segmenter_nothing_and_reads_nothing(models, picture, counted):
    text = TextSegmentation(models, preset="demo")
    text({"image": picture, "text": "heart"})
    text({"image": picture, "text": "heart", "method": "gradcam"})
    assert (counted.read, counted.sam) == (1, 1)


def test_a_click_before_any_text_asks_the_clip_nothing(models, picture, counted):
    ClickSegmentation(models, "demo")({"image": picture, "foreground": [[30, 20]]})
    assert counted.all == (1, 1, 0, 0)


def test_a_click_on_a_volume_reads_nothing_and_encodes_its_slice_alone(models, volume, counted):
    click = ClickSegmentation(models, "demo")
    click({"image": volume, "foreground": [[5, 6, 2]]})
    assert counted.all == (1, 1, 0, 0)
    click({"image": volume, "foreground": [[9, 9, 2]], "background": [[1, 1, 2]]})
    assert counted.all == (1, 1, 0, 0)
    click({"image": volume, "foreground": [[9, 9, 3]]})
    assert counted.all == (1, 2, 0, 0)
    TextSegmentation(models, preset="demo")({"image": volume, "text": "lungs"})
    assert (counted.read, counted.sam, counted.clip) == (1, 8, 8)
    click({"image": volume, "foreground": [[9, 9, 5]], "text": "lungs"})
    assert counted.all == (1, 8, 8, 8)


@pytest.mark.parametrize("change", [{"window": "full"}, {"slice_axis": "coronal"}])
def test_another_window_or_slice_axis_is_another_image(models, volume, counted, change):
    click = ClickSegmentation(models, "demo")
    for request in ({}, change, {}, change):
        click({"image": volume, "foreground": [[5, 6, 2]], **request})
    assert (counted.read, counted.sam) == (2, 2)


def test_an_open_picture_gives_the_same_mask(models, picture, tmp_path):
    text = TextSegmentation(models, preset="demo")
    first, _ = text({"image": picture, "text": "lungs"})
    second, _ = text({"image": picture, "text": "lungs"})
    fresh, _ = TextSegmentation(ServedModels(tmp_path / "other", "cpu"), preset="demo")(
        {"image": picture, "text": "lungs"}
    )
    masks = [np.asarray(Image.open(file)) for file in (first, second, fresh)]
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks[0], masks[2])


def test_a_text_after_clicks_finds_what_it_finds_alone(models, volume, tmp_path):
    ClickSegmentation(models, "demo")({"image": volume, "foreground": [[5, 6, 2]]})
    after, _ = TextSegmentation(models, preset="demo")({"image": volume, "text": "lungs"})
    alone, _ = TextSegmentation(ServedModels(tmp_path / "other", "cpu"), preset="demo")(
        {"image": volume, "text": "lungs"}
    )
    np.testing.assert_array_equal(nib.load(after).get_fdata(), nib.load(alone).get_fdata())


def test_another_content_of_the_same_file_is_read_anew(models, picture, counted):
    click = ClickSegmentation(models, "demo")
    click({"image": picture, "foreground": [[30, 20]]})
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(picture)
    click({"image": picture, "foreground": [[30, 20]]})
    assert (counted.read, counted.sam) == (2, 2)


def test_a_file_put_in_place_with_the_same_size_and_time_is_read_anew(models, tmp_path):
    names = [tmp_path / "a.bmp", tmp_path / "b.bmp"]
    for name, level in zip(names, (0, 200), strict=True):
        Image.fromarray(np.full((40, 60), level, np.uint8)).save(name)
        os.utime(name, (1, 1))
    segmenter = models.text_segmenter("demo")
    black = models.open(segmenter, names[0], window="full")
    os.replace(names[1], names[0])
    assert models.open(segmenter, names[0], window="full").sha256 != black.sha256


def test_a_folder_is_another_image_once_a_file_of_it_changes(models, tmp_path):
    folder = tmp_path / "session"
    folder.mkdir()
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(folder / "a.png")
    segmenter = models.text_segmenter("demo")
    opened = models.open(segmenter, folder)
    assert models.open(segmenter, folder) is opened
    Image.fromarray(np.full((40, 60), 200, np.uint8)).save(folder / "a.png")
    changed = models.open(segmenter, folder)
    assert changed.sha256 != opened.sha256
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(folder / "b.png")
    with pytest.raises(InputError, match="holds 2 images"):
        models.open(segmenter, folder)


def test_a_header_whose_voxels_lie_beside_it_is_not_kept(models, tmp_path):
    image = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 256, (4, 24, 24)).astype(np.uint8))
    sitk.WriteImage(image, str(tmp_path / "volume.mhd"))
    segmenter = models.text_segmenter("demo")
    assert models.open(segmenter, tmp_path / "volume.mhd").slices == 4
    assert models.opened.images.bytes == 0


def test_an_image_that_is_gone_is_one_line(models, tmp_path):
    with pytest.raises(InputError, match=r"gone.png: cannot be opened: No such file"):
        models.open(models.text_segmenter("demo"), tmp_path / "gone.png")


def test_open_images_are_kept_within_the_bound(models, tmp_path):
    segmenter, names = models.text_segmenter("demo"), [tmp_path / f"{k}.png" for k in range(3)]
    for name in names:
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)).save(name)
    models.open(segmenter, names[0])
    one = models.opened.images.bytes
    assert one >= 4 * 200 * 200
    small = ServedModels(tmp_path / "small", "cpu", image_bytes=5 * one // 2)
    first, second, third = (small.open(segmenter, name) for name in names)
    assert small.opened.images.bytes == 2 * one
    assert small.open(segmenter, names[2]) is third and small.open(segmenter, names[1]) is second
    assert small.open(segmenter, names[0]) is not first
    assert ServedModels(tmp_path / "none", "cpu", image_bytes=0).open(segmenter, names[0]).slices == 1


def test_what_was_made_of_an_image_goes_with_it(models, picture):
    segmenter = models.text_segmenter("demo")
    small = ServedModels(models.folder, "cpu", image_bytes=0)
    opened = small.open(segmenter, picture)
    opened.encoded().embeddings()
    assert small.opened.made.bytes > 0
    del opened
    assert small.opened.made.bytes == 0


def test_volumes_are_kept_slice_by_slice_within_the_bound(models, volume, tmp_path, counted):
    segmenter = models.text_segmenter("demo")
    opened = models.open(segmenter, volume)
    for number in range(8):
        opened.encoded(number).embeddings()
    one, rest = divmod(models.opened.made.bytes, 8)
    assert one > 0 and rest == 0 and counted.sam == 8
    small = ServedModels(tmp_path / "small", "cpu", cache_bytes=5 * one // 2)
    opened = small.open(segmenter, volume)
    for number in (0, 1, 2, 2, 1, 0):
        opened.encoded(number).embeddings()
    assert small.opened.made.bytes == 2 * one
    assert counted.sam == 8 + 4
