"""Which images are chosen, by table."""

from __future__ import annotations

import math

import pytest
import torch

from medclipsam_monai.label.active.selection import CRITERIA, UNSCORED, diverse, mixed, most_uncertain, novelty, pick

NONE = torch.zeros(0, 2)


def at(*degrees: float) -> torch.Tensor:
    """Unit vectors in the plane."""
    angles = torch.tensor(degrees).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


@pytest.mark.parametrize(
    ("uncertainty", "count", "expected"),
    [
        ([0.1, 0.9, 0.5], 1, [1]),
        ([0.1, 0.9, 0.5], 3, [1, 2, 0]),
        ([0.1, 0.9, 0.5], 9, [1, 2, 0]),
        ([0.5, 0.5, 0.5], 2, [0, 1]),
        ([UNSCORED, 0.0, UNSCORED], 3, [1, 0, 2]),
        ([], 2, []),
    ],
)
def test_most_uncertain_first_and_the_unscored_last(uncertainty, count, expected):
    assert pick(most_uncertain, count, uncertainty, torch.zeros(len(uncertainty), 2), NONE) == expected


def test_novelty_is_the_distance_to_the_nearest_labelled_image():
    expected = [0.0, 1 - math.cos(math.radians(30)), 1.0]
    assert novelty(at(0, 60, 180), at(0, 90)).tolist() == pytest.approx(expected, abs=1e-6)


def test_farthest_first_begins_with_the_most_typical_image_and_then_spreads():
    candidates = at(0, 10, 20, 100, 200)
    assert pick(diverse, 3, [0.0] * 5, candidates, NONE) == [2, 4, 3]


def test_farthest_first_looks_at_what_is_labelled():
    assert pick(diverse, 1, [0.0] * 3, at(0, 90, 180), at(170)) == [0]


def test_the_mix_does_not_choose_two_like_images():
    candidates, uncertainty = at(0, 1, 90, 2), [0.9, 0.8, 0.7, 0.1]
    assert pick(most_uncertain, 2, uncertainty, candidates, at(270)) == [0, 1]
    assert pick(mixed, 2, uncertainty, candidates, at(270)) == [2, 0]


def test_the_mix_does_not_depend_on_the_scale_of_the_uncertainty():
    candidates, uncertainty = at(0, 40, 90, 200), torch.tensor([3.0, 1.0, 4.0, 2.0])
    small = pick(mixed, 4, uncertainty / 1000, candidates, at(10))
    assert small == pick(mixed, 4, uncertainty.exp(), candidates, at(10))


def test_the_mix_without_scores_is_farthest_first():
    candidates = at(0, 10, 20, 100, 200)
    assert pick(mixed, 5, [UNSCORED] * 5, candidates, NONE) == pick(diverse, 5, [UNSCORED] * 5, candidates, NONE)


@pytest.mark.parametrize("name", CRITERIA)
def test_no_image_is_chosen_twice(name):
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(12, 4, generator=generator), dim=1)
    chosen = pick(CRITERIA[name], 12, torch.rand(12, generator=generator), vectors, vectors[:0])
    assert sorted(chosen) == list(range(12))
