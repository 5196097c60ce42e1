"""What an opened image and a segmentation look like in a notebook."""

from __future__ import annotations

import io
import sys

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError

AFFINE = np.array([[0, -2.0, 0, 5], [-1.5, 0, 0, -4], [0, 0, 3.0, 7], [0, 0, 0, 1]])
SETTINGS = {"saliency.steps": 2, "saliency.samples": 1, "presence_threshold": 0.0}


@pytest.fixture
def segmenter(tiny_preset):
    return TextSegmenter.from_preset(tiny_preset, device="cpu", settings=SETTINGS)


@pytest.fixture
def volume():
    return nib.Nifti1Image(np.random.default_rng(1).integers(0, 900, (10, 9, 11)).astype(np.int16), AFFINE)


def shown(thing) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(thing._repr_png_())))


def titles(figure) -> list[str]:
    return [axis.get_title() for axis in figure.axes if axis.get_title()]


def test_an_opened_picture_shows_what_the_networks_see(segmenter):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 260), dtype=np.uint8)
    opened = segmenter.open(pixels, window="full")
    grey = np.rint(opened.display[0].numpy() * 255).astype(np.uint8)
    np.testing.assert_array_equal(shown(opened), np.repeat(grey[..., None], 3, axis=-1))


def test_an_opened_volume_shows_nine_of_its_slices(segmenter, volume):
    opened = segmenter.open(volume)
    (rows, columns, _), (down, across, _) = opened.display.shape[1:], opened.spacing
    height, width, _ = shown(opened).shape
    assert min(height, width) % 3 == 0 and max(height, width) >= 3 * 256
    assert height / width == pytest.approx(rows * down / (columns * across), rel=0.01)


def test_the_stages_of_a_picture_stand_in_a_row_for_each_class(segmenter):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 50), dtype=np.uint8)
    figure = segmenter(pixels, ["left\nlung", "heart"]).plot()
    assert titles(figure) == ["image", "saliency", "coarse mask, boxes", "mask"]
    assert [axis.get_ylabel() for axis in figure.axes[::4]] == ["left lung", "heart"]
    assert shown(figure).shape[1] == 1040  # four panels of 2.6 inches at 100 dots an inch


def test_a_slice_of_a_volume_is_drawn_as_the_picture_that_it_is(segmenter, volume):
    result = segmenter(volume, "lungs", keep=["saliency"])
    areas = (result.label_map == 1).sum(dim=(0, 1))
    number = int(areas.argmax()) + 1 if areas.any() else 6
    figure = result.plot()
    assert figure.axes[0].get_ylabel() == f"lungs, slice {number}" and len(titles(figure)) == 4
    image = figure.axes[0].images[0].get_array()
    seen = np.rint(result.display[0, ..., number - 1].numpy() * 255).astype(np.uint8)
    assert set(np.unique(image)) == set(np.unique(seen))
    assert titles(segmenter(volume, "lungs").plot(3)) == ["image", "coarse mask, boxes", "mask"]
    for wrong in (0, 12):
        with pytest.raises(InputError, match=f"the number of the slice must be from 1 to 11, got {wrong}"):
            result.plot(wrong)


def test_a_picture_has_no_slices_and_no_viewer(segmenter):
    opened = segmenter.open(np.zeros((40, 40), np.uint8))
    with pytest.raises(InputError, match="left out, for this is no volume, got 1"):
        opened("lungs").plot(1)
    with pytest.raises(InputError, match="is a picture"):
        opened.view()


def test_without_ipyniivue_the_viewer_says_what_to_install(segmenter, volume, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipyniivue", None)
    with pytest.raises(InputError, match=r"pip install 'medclipsam-monai\[notebook\]'"):
        segmenter.open(volume).view()


def test_the_viewer_gets_the_volume_and_its_mask_at_their_place(segmenter, volume):
    pytest.importorskip("ipyniivue")
    result = segmenter(volume, "lungs")
    layers = [nib.Nifti1Image.from_bytes(bytes(layer.data)) for layer in result.view().volumes]
    assert len(layers) == 1 + bool(result.label_map.any())
    for layer in layers:  # world coordinates of the first and last voxel's corner are those of the file's own grid
        ends = nib.affines.apply_affine(layer.affine, [[0, 0, 0], np.array(layer.shape) - 1])
        own = nib.affines.apply_affine(AFFINE, [[0, 0, 0], np.array(volume.shape) - 1])
        np.testing.assert_allclose(np.sort(ends, axis=0), np.sort(own, axis=0), atol=1e-4)
    if result.label_map.any():
        assert np.asarray(layers[1].dataobj).sum() == int((result.label_map == 1).sum())
