from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import torch

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.transforms import CoarseMask, CoarseMaskd, DenseCRF, KeepLargestComponents

needs_crf = pytest.mark.skipif(
    importlib.util.find_spec("pydensecrf") is None,
    reason="pydensecrf2 is not installed: it has no wheels, and could not be built here",
)


def scene(height: int = 20, width: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """A bright square in a picture (3, H, W), and a saliency (1, H, W) that is a smooth blob on it, with noise."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    inside = (abs(rows - 9) < 5) & (abs(columns - 12) < 6)
    image = np.repeat(np.where(inside, 0.8, 0.2)[None], 3, axis=0)
    blob = np.exp(-((rows - 9) ** 2 + (columns - 12) ** 2) / 60)
    saliency = np.clip(blob + random.normal(0, 0.1, blob.shape), 0, 1)[None]
    return saliency.astype(np.float32), image.astype(np.float32)


def naive_crf(saliency: np.ndarray, image: np.ndarray) -> np.ndarray:
    """One mean-field step with every pair of pixels written out: Q (2, H, W) of background and foreground."""
    p = np.stack([1 - saliency, saliency]).reshape(2, -1).astype(np.float64)
    unary = -np.log(p + 1e-8) / (1.05 / (1 + np.exp(-p)))
    places = np.stack(np.mgrid[: saliency.shape[0], : saliency.shape[1]], -1).reshape(-1, 2)
    colours = np.round(image * 255).reshape(3, -1).T
    distance = ((places[:, None] - places[None]) ** 2).sum(-1)
    difference = ((colours[:, None] - colours[None]) ** 2).sum(-1)
    energy = unary.copy()
    q = softmax(-unary)
    for kernel, weight in (
        (np.exp(-distance / (2 * 3**2)), 3),
        (np.exp(-distance / (2 * 60**2) - difference / (2 * 5**2)), 5),
    ):
        norm = 1 / np.sqrt(kernel.sum(1) + 1e-20)
        energy -= weight * (q * norm) @ kernel * norm
    return softmax(-energy).reshape(2, *saliency.shape)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(0))
    return e / e.sum(0)


@needs_crf
def test_the_mask_is_that_of_the_crf_with_every_pair_written_out():
    saliency, image = scene()
    background, foreground = naive_crf(saliency[0], image)
    clear = abs(foreground - background) > 0.2  # the package filters on a lattice, an approximation
    assert clear.mean() > 0.9
    mask = DenseCRF()(saliency, image)
    assert mask.dtype == bool and mask.shape == saliency.shape
    np.testing.assert_array_equal(mask[0][clear], (foreground > background)[clear])


@needs_crf
def test_it_follows_the_edges_of_the_image():
    saliency, image = scene()
    inside = image[0] > 0.5
    before, after = saliency[0] > 0.5, DenseCRF()(saliency, image)[0]
    assert (after != inside).sum() < (before != inside).sum() / 2
    flat = DenseCRF()(saliency, np.full_like(image, 0.5))[0]
    assert (flat != after).any()


@needs_crf
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_channels_do_not_influence_each_other_and_a_constant_one_is_empty(kind):
    saliency, image = scene()
    both = kind(np.concatenate([saliency, np.full_like(saliency, 0.7)]))
    mask = DenseCRF()(both, kind(image))
    assert type(mask) is type(both)
    np.testing.assert_array_equal(np.asarray(mask[0]), DenseCRF()(saliency, image)[0])
    assert not mask[1].any()


@needs_crf
def test_a_grey_image_is_one_of_three_equal_channels():
    saliency, image = scene()
    np.testing.assert_array_equal(DenseCRF()(saliency, image[:1]), DenseCRF()(saliency, image))


@needs_crf
def test_coarse_mask_hands_the_image_on():
    saliency, image = scene()
    coarse = CoarseMask(DenseCRF(), KeepLargestComponents(1))
    mask = coarse(saliency, image)
    assert mask.any() and not (mask & ~DenseCRF()(saliency, image)).any()
    named = CoarseMaskd("saliency", "coarse", threshold="crf", components="largest", image_keys="image")
    out = named({"saliency": saliency, "image": image})
    np.testing.assert_array_equal(out["coarse"], mask)


@needs_crf
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "needs the image"),
        (np.zeros((3, 5, 5), np.float32), r"image must be \(C, 20, 24\)"),
        (np.zeros((20, 24), np.float32), "image must be"),
    ],
)
def test_no_image_or_one_that_does_not_fit_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        CoarseMask(DenseCRF())(scene()[0], image)


@needs_crf
@pytest.mark.parametrize("name", ["iterations", "gaussian_sxy", "bilateral_srgb", "tau"])
def test_numbers_that_are_not_positive_are_named(name):
    with pytest.raises(ValueError, match=f"{name} must be a (whole number from 1|number above 0) to [0-9,]+, got 0"):
        DenseCRF(**{name: 0})


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(InputError, match=r"pip install 'medclipsam-monai\[crf\]'"):
        DenseCRF()
