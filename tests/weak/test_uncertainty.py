"""Entropy, mutual information, the boundary-normalised score, and how they go with errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from medclipsam_monai.weak.ensemble.uncertainty import (
    boundary_length,
    correlation,
    entropy,
    mutual_information,
    retention_curve,
    uncertainty_score,
)


@pytest.mark.parametrize(
    ("probability", "bits"),
    [
        ((0.5, 0.5), 1.0),
        ((1.0, 0.0), 0.0),  # log2(0) times 0: the released code gives NaN
        ((0.25, 0.25, 0.25, 0.25), 2.0),
        ((0.5, 0.25, 0.25), 1.5),
        ((1.0 + 1e-7, 0.0), 0.0),  # rounding over 1
    ],
)
def test_entropy_is_in_bits_and_zero_where_it_is_certain(probability, bits):
    assert entropy(torch.tensor(probability)[:, None]).tolist() == pytest.approx([bits], abs=1e-6)


def test_entropy_keeps_the_shape_behind_the_classes():
    probability = torch.rand(3, 4, 5, 6, generator=torch.Generator().manual_seed(0)).softmax(0)
    expected = -(probability * probability.log2()).sum(0)
    assert torch.allclose(entropy(probability), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("members", "bits"),
    [
        ([(1.0, 0.0), (0.0, 1.0)], 1.0),  # each sure of another class: all of it is disagreement
        ([(0.5, 0.5), (0.5, 0.5)], 0.0),  # all unsure alike: none of it is
        ([(0.9, 0.1), (0.9, 0.1)], 0.0),
    ],
)
def test_mutual_information_is_what_members_disagree_about(members, bits):
    probabilities = torch.tensor(members)
    mean_entropy = torch.stack([entropy(p[:, None]) for p in probabilities]).mean(0)
    found = mutual_information(entropy(probabilities.mean(0)[:, None]), mean_entropy)
    assert found.tolist() == pytest.approx([bits], abs=1e-6)


def test_mutual_information_is_never_negative_through_rounding():
    assert mutual_information(torch.tensor([0.5]), torch.tensor([0.5000001])).tolist() == [0.0]


SQUARE = [[0, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
CORNER = [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
FULL = [[1, 1], [1, 1]]


@pytest.mark.parametrize(
    ("mask", "length"),
    [(SQUARE, 12), (CORNER, 3), (FULL, 0), ([[0, 0], [0, 0]], 0)],
    ids=["square", "corner", "full", "empty"],
)
def test_boundary_is_the_ring_of_pixels_around_the_mask(mask, length):
    assert boundary_length(torch.tensor(mask)) == length
    assert boundary_length(torch.tensor(mask, dtype=torch.bool)) == length


def test_boundary_of_a_volume_is_counted_in_its_slices():
    volume = torch.stack([torch.tensor(SQUARE), torch.zeros(5, 5, dtype=torch.long)], dim=-1)
    assert boundary_length(volume) == 12


def test_boundary_refuses_another_number_of_axes():
    with pytest.raises(ValueError, match=r"\(H, W\) or \(H, W, D\)"):
        boundary_length(torch.zeros(1, 2, 3, 4))


def test_score_is_entropy_over_boundary():
    assert uncertainty_score(torch.full((5, 5), 0.1), torch.tensor(SQUARE)) == pytest.approx(100 * 2.5 / 12, rel=1e-6)


@pytest.mark.parametrize("value", [0, 1])
def test_score_without_a_boundary_uses_the_outline_of_the_picture(value):
    mask = torch.full((4, 6), value)
    assert uncertainty_score(torch.full((4, 6), 0.5), mask) == pytest.approx(100 * 12 / 16)
    deep = mask[..., None].expand(4, 6, 3)
    assert uncertainty_score(torch.full((4, 6, 3), 0.5), deep) == pytest.approx(100 * 12 / 16)


def test_score_refuses_two_shapes():
    with pytest.raises(ValueError, match="one shape"):
        uncertainty_score(torch.zeros(2, 3), torch.zeros(3, 2))


def test_correlation_agrees_with_scipy_with_and_without_ties():
    random = np.random.default_rng(3)
    for score in (random.normal(size=20), random.integers(0, 4, size=20).astype(float)):
        dsc = random.random(20).round(1)
        found = correlation(list(score), list(dsc))
        assert found.pearson == pytest.approx(stats.pearsonr(score, dsc).statistic)
        assert found.spearman == pytest.approx(stats.spearmanr(score, dsc).statistic)
        assert found.images == 20


def test_correlation_of_opposites_is_minus_one():
    found = correlation([3.0, 2.0, 1.0], [0.1, 0.5, 0.9])
    assert (found.pearson, found.spearman) == (pytest.approx(-1), pytest.approx(-1))


@pytest.mark.parametrize(("score", "dsc"), [([1.0], [0.5]), ([1.0, 1.0], [0.2, 0.4]), ([1.0, 2.0], [0.3, 0.3])])
def test_correlation_of_too_little_is_nan(score, dsc):
    found = correlation(score, dsc)
    assert math.isnan(found.pearson)
    assert math.isnan(found.spearman)


@pytest.mark.parametrize(
    ("score", "dsc", "says"), [([1.0], [0.1, 0.2], "1 and 2"), ([math.nan, 1.0], [0.1, 0.2], "score must be finite")]
)
def test_correlation_refuses_what_does_not_pair(score, dsc, says):
    with pytest.raises(ValueError, match=says):
        correlation(score, dsc)


@pytest.mark.parametrize(
    ("error", "uncertainty", "area"),
    [([2, 1], [1, 0], 2 / 3), ([0, 1, 2, 3, 4], [0, 0, 2, 1, 1], 0.8), ([1, 2, 4], [5, 5, 5], 7 / 6)],
    ids=["two", "ties", "all tied"],
)
def test_area_under_the_retention_curve_is_that_of_malinin(error, uncertainty, area):
    assert retention_curve(error, uncertainty).area == pytest.approx(area)


def test_retention_by_error_is_the_oracle_and_by_nothing_is_random():
    error = [0.4, 0.1, 0.3, 0.2]
    best, blind = retention_curve(error, error), retention_curve(error, [1, 1, 1, 1])
    worst = retention_curve(error, [-e for e in error])
    assert best.error.tolist() == pytest.approx([0, 0.025, 0.075, 0.15, 0.25])
    assert best.fraction.tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert best.area == pytest.approx(best.oracle_area)
    assert best.rejection_ratio == pytest.approx(1)
    assert blind.area == pytest.approx(blind.random_area)
    assert blind.rejection_ratio == pytest.approx(0)
    assert worst.area > worst.random_area
    assert worst.rejection_ratio < 0


def test_retention_of_equal_errors_has_no_ratio():
    assert math.isnan(retention_curve([0.2, 0.2], [0.1, 0.3]).rejection_ratio)


@pytest.mark.parametrize(("error", "uncertainty", "says"), [([], [], "at least one"), ([-1.0], [0.0], "at least 0")])
def test_retention_refuses_what_is_no_error(error, uncertainty, says):
    with pytest.raises(ValueError, match=says):
        retention_curve(error, uncertainty)
