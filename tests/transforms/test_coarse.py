from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.data import MetaTensor
from skimage.filters import threshold_otsu

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.transforms import (
    CoarseMask,
    CoarseMaskd,
    FixedThreshold,
    KeepConfidentComponents,
    KeepLargestComponents,
    OtsuThreshold,
    TwoMeansThreshold,
)

THRESHOLDS = [OtsuThreshold(), TwoMeansThreshold(), FixedThreshold()]


def between_variance(values: np.ndarray, foreground: np.ndarray) -> float:
    """Otsu's criterion of a split."""
    dark, bright = values[~foreground], values[foreground]
    return len(dark) * len(bright) * (bright.mean() - dark.mean()) ** 2 if len(dark) and len(bright) else 0.0


@pytest.mark.parametrize(
    ("threshold", "saliency", "expected"),
    [
        (OtsuThreshold(), [0.0, 0.1, 0.2, 0.8, 0.9, 1.0], [0, 0, 0, 1, 1, 1]),
        (TwoMeansThreshold(), [0.0, 0.1, 0.2, 0.8, 0.9, 1.0], [0, 0, 0, 1, 1, 1]),
        (TwoMeansThreshold(), [0.3, 0.3, 0.3, 0.3001], [0, 0, 0, 1]),
        (OtsuThreshold(bins=2), [0.0, 0.49, 0.5, 1.0], [0, 0, 1, 1]),
        (FixedThreshold(), [0.0, 0.29, 0.3, 1.0], [0, 0, 1, 1]),
        (FixedThreshold(0.5), [0.0, 0.49, 0.3, 1.0], [0, 0, 0, 1]),
        (OtsuThreshold(), [float("nan"), 0.0, 1.0, 1.0], [0, 0, 1, 1]),
    ],
)
def test_threshold_separates_the_bright_values(threshold, saliency, expected):
    mask = threshold(np.array([[saliency]]))
    assert mask.dtype == bool
    assert mask[0, 0].astype(int).tolist() == expected


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=lambda threshold: type(threshold).__name__)
@pytest.mark.parametrize("value", [0.0, 0.7, 1.0, float("nan")])
def test_a_constant_map_gives_an_empty_mask(threshold, value):
    assert not threshold(torch.full((2, 3, 4), value)).any()


@pytest.mark.parametrize("seed", range(5))
def test_otsu_lies_within_half_a_bin_of_skimage(seed):
    random = np.random.default_rng(seed)
    channel = np.concatenate([random.normal(0.3, 0.1, 3000), random.normal(0.7, 0.05, 600)]).reshape(60, 60)
    mask = OtsuThreshold()(channel[None])[0]
    half = (channel.max() - channel.min()) / 256 / 2 * (1 + 1e-9)
    expected = threshold_otsu(channel, nbins=256)
    assert abs(channel[~mask].max() - expected) <= half
    assert channel[mask].min() > channel[~mask].max()


@settings(max_examples=100, deadline=None)
@given(hnp.arrays("float64", st.tuples(st.integers(1, 4), st.integers(1, 5)), elements=st.integers(0, 20).map(float)))
def test_two_means_is_the_best_of_all_splits(channel):
    mask = TwoMeansThreshold()(channel[None])[0]
    best = max(between_variance(channel, channel > value) for value in np.unique(channel))
    assert between_variance(channel, mask) == pytest.approx(best, rel=1e-9, abs=1e-12)


def test_channels_do_not_influence_each_other():
    saliency = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    saliency[1] *= 0.01
    together = CoarseMask(TwoMeansThreshold(), None)(saliency)
    assert together[1].any()
    for i in range(3):
        assert torch.equal(together[i : i + 1], CoarseMask(TwoMeansThreshold(), None)(saliency[i : i + 1]))


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=lambda threshold: type(threshold).__name__)
def test_a_volume_has_one_threshold_for_all_slices(threshold):
    volume = torch.zeros(2, 4, 4, 3, dtype=torch.float64)
    volume[:, 1:3, 1:3, 0], volume[:, 1:3, 1:3, 1] = 0.9, 0.8
    volume[:, 0, 0] = 0.1  # the brightest of the last slice, and little in the volume
    volume[1] *= 0.5
    found = threshold(volume)
    tall = threshold(volume.movedim(-1, 1).flatten(1, 2))
    assert torch.equal(found, tall.unflatten(1, (3, 4)).movedim(1, -1))
    assert found[0, 1:3, 1:3, :2].all() and not found[..., 2].any()


def test_components_of_a_volume_are_bodies():
    volume = torch.zeros(1, 6, 6, 5)
    volume[0, 1, 1, :3] = 0.9  # a rod through three slices
    volume[0, 4, 4, 1] = 1.0  # the brightest voxel, on its own
    volume[0, 2, 2, 3] = 0.9  # goes on from the rod's end by a corner
    largest = CoarseMask(FixedThreshold(0.5), KeepLargestComponents(1))(volume)
    assert largest[0].nonzero().tolist() == [[1, 1, 0], [1, 1, 1], [1, 1, 2], [2, 2, 3]]
    faces = CoarseMask(FixedThreshold(0.5), KeepLargestComponents(1, connectivity=1))(volume)
    assert faces[0].nonzero().tolist() == [[1, 1, 0], [1, 1, 1], [1, 1, 2]]
    sure = CoarseMask(FixedThreshold(0.5), KeepConfidentComponents(0.95))(volume)
    assert sure[0].nonzero().tolist() == [[4, 4, 1]]


@pytest.mark.parametrize("shape", [(4, 4), (1, 1, 4, 4, 2)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"saliency must be \(K, H, W\[, D\]\)"):
        CoarseMask()(torch.rand(shape))


SALIENCY = np.array(
    [
        [
            [0.9, 0.9, 0.0, 0.0, 0.0, 0.0],
            [0.9, 0.9, 0.0, 0.0, 0.4, 0.4],
            [0.0, 0.0, 0.0, 0.0, 0.4, 0.4],
            [0.0, 0.0, 0.0, 0.0, 0.4, 0.4],
        ]
    ]
)


@pytest.mark.parametrize(
    ("coarse", "columns"),
    [
        (CoarseMask(FixedThreshold(0.3), None), [0, 1, 4, 5]),
        (CoarseMask(FixedThreshold(0.3)), [0, 1]),
        (CoarseMask(FixedThreshold(0.3), KeepLargestComponents(1)), [4, 5]),
        (CoarseMask(FixedThreshold(0.3), KeepLargestComponents(2)), [0, 1, 4, 5]),
    ],
)
def test_coarse_mask_joins_threshold_and_components(coarse, columns):
    assert np.flatnonzero(coarse(SALIENCY)[0].any(axis=0)).tolist() == columns


def test_kind_and_meta_data_are_kept():
    saliency = MetaTensor(torch.from_numpy(SALIENCY), meta={"filename_or_obj": "a.png"})
    mask = CoarseMask()(saliency)
    assert isinstance(mask, MetaTensor) and mask.dtype == torch.bool and mask.meta["filename_or_obj"] == "a.png"
    assert type(CoarseMask()(torch.from_numpy(SALIENCY))) is torch.Tensor
    assert isinstance(CoarseMask()(SALIENCY), np.ndarray)


def test_a_map_that_needs_a_gradient_is_taken():
    assert CoarseMask()(torch.from_numpy(SALIENCY).requires_grad_()).any()


def test_dictionary_version_writes_under_the_output_key():
    out = CoarseMaskd("saliency", "coarse", threshold=0.3)({"saliency": SALIENCY})
    assert out["coarse"].sum() == 4 and out["saliency"] is SALIENCY
    assert CoarseMaskd("saliency")({"saliency": SALIENCY})["saliency"].dtype == bool


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, CoarseMask()),
        ({"threshold": "otsu", "bins": 16, "components": None}, CoarseMask(OtsuThreshold(16), None)),
        ({"threshold": 0.3, "min_confidence": 0.1}, CoarseMask(FixedThreshold(0.3), KeepConfidentComponents(0.1))),
        (
            {"threshold": "two_means", "components": "largest", "k": [2, 1], "connectivity": 1},
            CoarseMask(TwoMeansThreshold(), KeepLargestComponents((2, 1), 1)),
        ),
    ],
)
def test_the_dictionary_version_is_made_of_names_and_numbers_as_json_has_them(options, expected):
    assert CoarseMaskd("saliency", **options).converter == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": "median"}, "coarse.threshold must be one of otsu, two_means, crf or a number from 0 to 1"),
        ({"components": "best"}, "coarse.components must be one of confident, largest, got 'best'"),
        ({"k": 2}, "coarse.k does not belong to coarse.components=confident"),
        ({"min_confidence": 2}, "min_confidence must be a number from 0 to 1, got 2"),
    ],
)
def test_a_name_or_a_number_that_cannot_be_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        CoarseMaskd("saliency", **options)


def test_otsu_refuses_a_single_bin():
    with pytest.raises(ValueError, match="bins must be a whole number from 2 to 65,536, got 1"):
        OtsuThreshold(bins=1)
