"""What holds of every transform whatever comes in: shape, kind and range of the answer, and an input left alone."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from fuzzed import few
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.data import MetaTensor

from medclipsam_monai.transforms import (
    CoarseMask,
    CoarseMaskd,
    DenseCRF,
    DisplayRange,
    DisplayRanged,
    FixedThreshold,
    KeepConfidentComponents,
    KeepLargestComponents,
    OtsuThreshold,
    Overlay,
    Overlayd,
    PromptsFromMask,
    PromptsFromMaskd,
    TwoMeansThreshold,
    as_many_components,
    count_components,
    saliency_picture,
)

KINDS = {
    "array": lambda array: array.copy(),
    "tensor": lambda array: torch.from_numpy(array.copy()),
    "meta": lambda array: MetaTensor(torch.from_numpy(array.copy()), affine=torch.diag(torch.tensor([2.0, 3, 4, 1]))),
}
SIDES = st.integers(1, 9)
PLANES = st.tuples(SIDES, SIDES)
PLANES_OR_VOLUMES = st.one_of(PLANES, st.tuples(SIDES, SIDES, st.integers(1, 4)))
ODD = st.sampled_from([np.nan, np.inf, -np.inf, -0.0, 1e38, -1e38, 1e-40])
ANY = st.one_of(st.floats(-2000, 3000, width=32), ODD)


@st.composite
def images(draw: Any) -> np.ndarray:
    """Any number of colours, numbers of any type."""
    shape = (draw(st.sampled_from([1, 2, 3, 4])), *draw(PLANES_OR_VOLUMES))
    dtype = draw(st.sampled_from(["float32", "float64", "uint8", "int16", "int32", "uint16", "bool"]))
    elements = ANY if dtype.startswith("float") else None
    return draw(hnp.arrays(dtype, shape, elements=elements))


@st.composite
def saliencies(draw: Any, sides: Any = PLANES_OR_VOLUMES) -> np.ndarray:
    """One to three classes, usually in [0, 1]."""
    values = st.one_of(st.floats(0, 1, width=32), st.sampled_from([0.0, 1.0, 0.5, np.nan]))
    return draw(hnp.arrays("float32", (draw(st.integers(1, 3)), *draw(sides)), elements=values))


def masks(sides: Any = PLANES_OR_VOLUMES) -> Any:
    return st.builds(
        lambda shape, seed, part: np.random.default_rng(seed).random(shape) < part,
        st.tuples(st.integers(1, 3), sides).map(lambda both: (both[0], *both[1])),
        st.integers(0, 1000),
        st.sampled_from([0.0, 0.2, 0.6, 1.0]),
    )


def assert_same_kind(out: Any, given_: Any, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """The answer has the input's kind, and of a MetaTensor its affine."""
    assert type(out) is type(given_) and tuple(out.shape) == shape
    assert str(out.dtype).removeprefix("torch.") == dtype
    if isinstance(given_, MetaTensor):
        assert torch.equal(out.affine, given_.affine)
    return np.asarray(out)


def assert_unchanged(given_: Any, before: np.ndarray) -> None:
    np.testing.assert_array_equal(np.asarray(given_), before)


@few
@given(images(), st.sampled_from(sorted(KINDS)), st.sampled_from([None, "full", "lung", (40, 400), "percentile:1,99"]))
def test_a_display_image_has_three_channels_in_0_to_1(image, kind, window):
    item = KINDS[kind](image)
    out = DisplayRange(window)(item)
    values = assert_same_kind(out, item, (3, *image.shape[1:]), "float32")
    assert np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1
    assert_unchanged(item, image)
    data = {"image": item, "other": 1}
    again = DisplayRanged("image", window=window)(data)
    np.testing.assert_array_equal(np.asarray(again["image"]), values)
    assert data["image"] is item and again["other"] == 1


@few
@given(hnp.arrays("float32", (1, 4, 5), elements=st.floats(-1000, 1000, width=32)))
def test_a_window_keeps_the_order_of_values_and_full_range_reaches_both_ends(image):
    flat = image.ravel()
    for window in ("full", (0, 500)):
        shown = np.asarray(DisplayRange(window)(image))[0].ravel()
        assert (np.diff(shown[np.argsort(flat, kind="stable")]) >= 0).all()
    if flat.max() - flat.min() > 1e-3:
        shown = np.asarray(DisplayRange("full")(image))
        assert shown.min() == 0 and shown.max() == 1


THRESHOLDS = [OtsuThreshold(), OtsuThreshold(bins=8), TwoMeansThreshold(), FixedThreshold(0.5)]


@few
@given(saliencies(), st.sampled_from(sorted(KINDS)), st.sampled_from(THRESHOLDS))
def test_a_threshold_splits_bright_from_dark(saliency, kind, threshold):
    item = KINDS[kind](saliency)
    mask = assert_same_kind(threshold(item), item, saliency.shape, "bool")
    for values, found in zip(np.nan_to_num(saliency, nan=0.0), mask, strict=True):
        assert not found.any() or found.all() or values[found].min() >= values[~found].max()
    assert_unchanged(item, saliency)


@few
@given(saliencies(), st.sampled_from(sorted(KINDS)), st.sampled_from(["otsu", "two_means", 0.3]))
def test_a_coarse_mask_is_a_part_of_its_threshold(saliency, kind, threshold):
    item = KINDS[kind](saliency)
    data = {"saliency": item}
    every, kept = (
        np.asarray(CoarseMaskd("saliency", "mask", threshold=threshold, components=name)(data)["mask"])
        for name in (None, "confident")
    )
    assert kept.dtype == bool and not (kept & ~every).any()
    assert list(data) == ["saliency"] and data["saliency"] is item
    assert_unchanged(item, saliency)
    plain = CoarseMask(OtsuThreshold(), None)(item)
    assert_same_kind(plain, item, saliency.shape, "bool")


@few
@given(masks(PLANES), st.sampled_from(sorted(KINDS)), st.integers(1, 3), st.sampled_from([1, 2]))
def test_kept_components_are_whole_components_and_no_more_than_asked_for(mask, kind, k, connectivity):
    item = KINDS[kind](mask)
    kept = assert_same_kind(KeepLargestComponents(k, connectivity)(item), item, mask.shape, "bool")
    assert not (kept & ~mask).any()
    for before, after in zip(mask, kept, strict=True):
        count = count_components(before[None], connectivity)[0]
        assert count_components(after[None], connectivity)[0] == min(k, count)
    assert_unchanged(item, mask)
    np.testing.assert_array_equal(np.asarray(KeepLargestComponents(k, connectivity)(kept)), kept, "twice is once")


@few
@given(masks(), st.floats(0, 1), st.booleans())
def test_confident_components_are_a_part_and_never_none_where_the_best_is_kept(mask, least, keep_best):
    saliency = np.random.default_rng(0).random(mask.shape).astype("float32")
    kept = np.asarray(KeepConfidentComponents(min_confidence=least, keep_best=keep_best)(mask, saliency))
    assert kept.dtype == bool and not (kept & ~mask).any()
    if keep_best:
        assert [bool(channel.any()) for channel in kept] == [bool(channel.any()) for channel in mask]


@few
@given(masks(PLANES), st.sampled_from(sorted(KINDS)), st.sampled_from(["single", "components"]))
def test_prompts_do_not_depend_on_the_kind_of_mask_and_leave_it_alone(mask, kind, boxes):
    item = KINDS[kind](mask)
    found, plain = (PromptsFromMask(boxes, points=2)(one) for one in (item, mask))
    assert len(found) == len(mask)
    for one, other in zip(found, plain, strict=True):
        assert torch.equal(one.boxes, other.boxes) and torch.equal(one.points, other.points)
    assert_unchanged(item, mask)
    data = {"mask": item}
    assert len(PromptsFromMaskd("mask", "prompts", boxes=boxes)(data)["prompts"]) == len(mask)
    assert data["mask"] is item and list(data) == ["mask"]


@few
@given(masks(st.tuples(st.integers(2, 9), st.integers(2, 9))), st.sampled_from(sorted(KINDS)), st.floats(0, 1))
def test_an_overlay_is_an_8_bit_picture_and_outside_of_masks_the_image(mask, kind, alpha):
    image = np.random.default_rng(0).random((3, *mask.shape[1:])).astype("float32")
    item, drawn = KINDS[kind](image), KINDS[kind](mask)
    picture = Overlay(alpha, contour=1)(item, drawn)
    assert isinstance(picture, np.ndarray) and picture.dtype == np.uint8
    assert picture.shape == (*mask.shape[1:], 3)
    outside = ~mask.any(0)
    wanted = 255 * image.transpose(1, 2, 0)
    assert (np.abs(picture[outside] - wanted[outside]) <= 1).all()
    assert_unchanged(item, image)
    assert_unchanged(drawn, mask)
    data = {"image": item, "pred": drawn}
    np.testing.assert_array_equal(Overlayd("image", alpha=alpha, contour=1)(data)["overlay"], picture)
    assert list(data) == ["image", "pred"]


@few
@given(saliencies(PLANES))
def test_as_many_components_are_kept_as_the_coarse_mask_has(saliency):
    mask, coarse = torch.from_numpy(saliency > 0.3), torch.from_numpy(saliency > 0.8)
    kept = as_many_components(mask, coarse)
    assert kept.shape == mask.shape and kept.dtype == torch.bool and not (kept & ~mask).any()
    for now, most, whole in zip(*map(count_components, (kept, coarse, mask)), strict=True):
        assert now == min(most, whole)


@pytest.mark.skipif(find_spec("pydensecrf") is None, reason="the dense CRF's package is not installed")
@few
@given(saliencies(st.tuples(st.integers(2, 9), st.integers(2, 9))))
def test_the_dense_crf_gives_a_mask_and_leaves_its_inputs_alone(saliency):
    image = np.random.default_rng(0).random((3, *saliency.shape[1:])).astype("float32")
    before = image.copy(), saliency.copy()
    mask = DenseCRF(iterations=1)(saliency, image)
    assert mask.shape == saliency.shape and mask.dtype == bool
    assert_unchanged(image, before[0])
    assert_unchanged(saliency, before[1])


@few
@given(saliencies(PLANES))
def test_a_picture_of_saliency_is_8_bit_colour(saliency):
    image = np.zeros((1, *saliency.shape[1:]), "float32")
    picture = saliency_picture(np.nan_to_num(saliency[0]), image)
    assert picture.dtype == np.uint8 and picture.shape == (*saliency.shape[1:], 3)
