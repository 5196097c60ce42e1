"""Pointing game, energy inside and presence AUC."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.metrics import energy_inside, pointing_game, presence_auc

LEFT = [[1, 0, 0], [1, 0, 0]]
NONE = [[0, 0, 0], [0, 0, 0]]

# saliency, mask, pointing game, energy inside
TABLE = {
    "hit": ([[0.6, 0.2, 0], [0, 0.2, 0]], LEFT, 1, 0.6),
    "miss": ([[0.3, 0.5, 0], [0.2, 0, 0]], LEFT, 0, 0.5),
    "peak shared in and out": ([[1, 1, 0], [0, 0, 0]], LEFT, 0.5, 0.5),
    "flat map scores chance": ([[1, 1, 1], [1, 1, 1]], LEFT, 1 / 3, 1 / 3),
    "map of zeros points nowhere": (NONE, LEFT, 0, 0),
    "empty mask cannot be hit": ([[1, 0, 0], [0, 0, 0]], NONE, np.nan, np.nan),
    "nothing at all": (NONE, NONE, np.nan, np.nan),
}


@pytest.mark.parametrize("name", TABLE)
def test_localisation_by_hand(name):
    saliency, mask, pointing, energy = TABLE[name]
    saliency, mask = torch.tensor([saliency], dtype=torch.float32), torch.tensor([mask])
    assert pointing_game(saliency, mask).tolist() == pytest.approx([pointing], nan_ok=True)
    assert energy_inside(saliency, mask).tolist() == pytest.approx([energy], nan_ok=True)


def test_each_class_of_a_volume_has_its_own_score():
    saliency, mask = np.zeros((2, 2, 2, 3), np.float32), np.zeros((2, 2, 2, 3), bool)
    saliency[:, 0, 1, 2] = 0.75
    saliency[:, 1, 1, 0] = 0.25
    mask[0, 0, 1, 2] = mask[1, 1, 1, 0] = True
    assert pointing_game(saliency, mask).tolist() == [1, 0]
    assert energy_inside(saliency, mask).tolist() == [0.75, 0.25]


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float32, (1, 4, 5), elements=st.floats(0, 1, width=32)), arrays(bool, (1, 4, 5), elements=st.booleans())
)
def test_inside_and_outside_make_a_whole(saliency, mask):
    assume(saliency.max() > 0 and mask.any() and not mask.all())
    for score in (pointing_game, energy_inside):
        inside, outside = score(saliency, mask).item(), score(saliency, ~mask).item()
        assert 0 <= inside <= 1
        assert inside + outside == pytest.approx(1)


@pytest.mark.parametrize("bad", [-0.1, np.nan, np.inf])
@pytest.mark.parametrize("score", [pointing_game, energy_inside])
def test_saliency_that_is_none(score, bad):
    with pytest.raises(ValueError, match="saliency must be finite and zero or more"):
        score(np.full((1, 2, 2), bad), np.ones((1, 2, 2), bool))


def test_saliency_and_mask_of_two_sizes():
    with pytest.raises(InputError, match=r"saliency and mask must have one shape, got \(1, 2, 2\) and \(1, 2, 3\)"):
        pointing_game(np.ones((1, 2, 2)), np.ones((1, 2, 3), bool))


@pytest.mark.parametrize(
    ("scores", "present", "auc"),
    [
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.75),
        ([0.9, 0.1], [True, False], 1.0),
        ([0.1, 0.9], [True, False], 0.0),
        ([0.5, 0.5, 0.5], [1, 0, 0], 0.5),
        ([0.2, 0.5, 0.5, 0.7], [0, 0, 1, 1], 0.875),
    ],
)
def test_presence_auc_by_hand(scores, present, auc):
    assert presence_auc(scores, present) == pytest.approx(auc)
    assert presence_auc(np.array(scores), torch.tensor(present)) == pytest.approx(auc)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=30))
def test_presence_auc_counts_pairs_and_agrees_with_sklearn(rows):
    scores, present = [r[0] / 4 for r in rows], [r[1] for r in rows]
    assume(0 < sum(present) < len(present))
    pairs = [(a > b) + (a == b) / 2 for a, p in zip(scores, present, strict=True) if p
             for b, q in zip(scores, present, strict=True) if not q]  # fmt: skip
    auc = presence_auc(scores, present)
    assert auc == pytest.approx(sum(pairs) / len(pairs))
    assert auc == pytest.approx(roc_auc_score(present, scores))


@pytest.mark.parametrize(
    ("scores", "present", "message"),
    [
        ([0.1, 0.2], [1, 1], "got 2 with and 0 without"),
        ([], [], "got 0 with and 0 without"),
        ([0.1, 0.2], [1], r"one length, got \(2,\) and \(1,\)"),
        ([0.1, float("nan")], [1, 0], "scores must be finite"),
        ([0.1, 0.2], [1, 2], "presences must be 0 or 1, got 2"),
    ],
)
def test_presences_that_give_no_auc(scores, present, message):
    with pytest.raises(ValueError, match=message):
        presence_auc(scores, present)
