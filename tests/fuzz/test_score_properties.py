"""What holds of scores whatever the masks are; their definitions are compared in tests/metrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fuzzed import few
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor

from medclipsam_monai.metrics import energy_inside, pointing_game, score_masks, surface_dice

SIDES = st.integers(1, 8)
SHAPES = st.one_of(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES, SIDES))
PARTS = st.sampled_from([0.0, 0.1, 0.5, 1.0])
NAMES = ("dsc", "nsd", "iou")


@st.composite
def pairs(draw):
    """Two masks of one to three classes, a tolerance and a spacing."""
    shape = (draw(st.integers(1, 3)), *draw(SHAPES))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    masks = [rng.random(shape) < draw(PARTS) for _ in range(2)]
    spacing = tuple(draw(st.sampled_from([0.01, 0.7, 1.0, 40.0])) for _ in shape[1:])
    return *masks, draw(st.sampled_from([0.0, 0.5, 2.0, 1e6])), spacing


@few
@given(pairs())
def test_scores_lie_within_bounds_are_symmetric_and_1_for_the_same(case):
    pred, truth, tolerance, spacing = case
    before = pred.copy(), truth.copy()
    there, back = score_masks(pred, truth, tolerance, spacing), score_masks(truth, pred, tolerance, spacing)
    for name in NAMES:
        values = getattr(there, name)
        assert len(values) == len(pred) and all(0 <= value <= 1 for value in values)
        assert values == pytest.approx(getattr(back, name), abs=1e-6)
        assert getattr(score_masks(pred, pred, tolerance, spacing), name) == (1,) * len(pred)
    assert np.array_equal(pred, before[0]) and np.array_equal(truth, before[1])


@few
@given(pairs())
def test_empty_masks_score_1_together_and_0_alone(case):
    pred, _, tolerance, spacing = case
    empty = np.zeros_like(pred)
    assert score_masks(empty, empty, tolerance, spacing).dsc == (1,) * len(pred)
    for name in NAMES:
        found = getattr(score_masks(pred, empty, tolerance, spacing), name)
        assert found == tuple(0.0 if channel.any() else 1.0 for channel in pred)


@few
@given(pairs(), st.sampled_from([torch.from_numpy, lambda mask: MetaTensor(torch.from_numpy(mask))]))
def test_scores_do_not_depend_on_the_kind_or_on_flips(case, make):
    pred, truth, tolerance, spacing = case
    plain = score_masks(pred, truth, tolerance, spacing)
    assert score_masks(make(pred), make(truth), tolerance, spacing) == plain
    flipped = score_masks(pred[:, ::-1].copy(), truth[:, ::-1].copy(), tolerance, spacing)
    for name in NAMES:
        assert getattr(flipped, name) == pytest.approx(getattr(plain, name), abs=1e-6)
    assert tuple(surface_dice(make(pred), make(truth), tolerance, spacing).tolist()) == pytest.approx(plain.nsd)


@few
@given(pairs())
def test_a_wider_tolerance_never_scores_less(case):
    pred, truth, tolerance, spacing = case
    narrow, wide = (surface_dice(pred, truth, one, spacing) for one in (tolerance, 2 * tolerance + 1))
    assert (wide >= narrow - 1e-6).all()


@few
@given(pairs(), st.integers(0, 1000))
def test_what_points_at_a_mask_is_a_share_and_nothing_where_there_is_no_mask(case, seed):
    mask, zero = case[0], case[1][:1]
    saliency = np.random.default_rng(seed).random(mask.shape) * ~np.broadcast_to(zero, mask.shape)
    for score in (pointing_game, energy_inside):
        found = score(saliency, mask).numpy()
        empty = ~mask.reshape(len(mask), -1).any(1)
        np.testing.assert_array_equal(np.isnan(found), empty)
        assert ((found[~empty] >= 0) & (found[~empty] <= 1 + 1e-12)).all()
        whole = score(saliency, np.ones_like(mask)).numpy()
        np.testing.assert_allclose(whole, saliency.reshape(len(mask), -1).any(1), atol=1e-12)
