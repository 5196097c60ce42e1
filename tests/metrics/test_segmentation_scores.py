"""DSC, NSD and IoU against definitions written out pixel by pixel."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from monai.data import MetaTensor
from monai.metrics import compute_surface_dice

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.metrics import score_masks, surface_dice


def mask(*rows: str) -> np.ndarray:
    """One class (1, H, W) from rows of # and dots."""
    return np.array([[[c == "#" for c in row] for row in rows]])


EMPTY = mask("....", "....", "....")
SQUARE = mask("##..", "##..", "....")
SHIFTED = mask(".##.", ".##.", "....")
FAR = mask("....", "....", "...#")

# prediction, truth, tolerance, DSC, NSD, IoU
TABLE = {
    "equal": (SQUARE, SQUARE, 0, 1, 1, 1),
    "half over, no tolerance": (SQUARE, SHIFTED, 0, 1 / 2, 1 / 2, 1 / 3),
    "half over, one pixel": (SQUARE, SHIFTED, 1, 1 / 2, 1, 1 / 3),
    # from (2, 3) the square's corner (1, 1) is sqrt(5) away; nothing of either lies within 2
    "apart, too far": (SQUARE, FAR, 2, 0, 0, 0),
    # within sqrt(5): the one pixel, and of the square's four only that corner
    "apart, corner in reach": (SQUARE, FAR, 2.24, 0, 2 / 5, 0),
    "both empty": (EMPTY, EMPTY, 2, 1, 1, 1),
    "made up": (SQUARE, EMPTY, 2, 0, 0, 0),
    "missed": (EMPTY, SQUARE, 2, 0, 0, 0),
}


@pytest.mark.parametrize("name", TABLE)
def test_scores_by_hand(name):
    pred, truth, tolerance, dsc, nsd, iou = TABLE[name]
    scores = score_masks(pred, truth, tolerance)
    assert scores.dsc == pytest.approx((dsc,))
    assert scores.nsd == pytest.approx((nsd,))
    assert scores.iou == pytest.approx((iou,))


def test_each_class_is_scored_apart_and_the_background_has_no_channel():
    pred = np.concatenate([SQUARE, EMPTY, FAR])
    truth = np.concatenate([SQUARE, EMPTY, SQUARE])
    scores = score_masks(pred, truth)
    assert scores.dsc == (1, 1, 0)
    assert scores.pred_area == (4, 0, 1)
    assert scores.truth_area == (4, 0, 4)


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.float32, torch.tensor, MetaTensor])
def test_kinds_of_mask(kind):
    as_kind = (lambda m: m.astype(kind)) if isinstance(kind, type) and issubclass(kind, np.generic) else kind
    scores = score_masks(as_kind(SQUARE), as_kind(SHIFTED), 0)
    assert (*scores.dsc, *scores.nsd, *scores.iou) == pytest.approx((1 / 2, 1 / 2, 1 / 3))


def test_the_default_tolerance_is_two_pixels():
    column = torch.zeros(1, 1, 9, dtype=torch.bool)
    truth, two_off, three_off = column.clone(), column.clone(), column.clone()
    truth[..., 2] = two_off[..., 4] = three_off[..., 5] = True
    assert score_masks(two_off, truth).nsd == (1,)
    assert score_masks(three_off, truth).nsd == (0,)


# shifted by one column; H spacing does not matter, W spacing decides
@pytest.mark.parametrize(
    ("spacing", "nsd", "area"), [(None, 1, 4), (2.0, 1, 16), ((9.0, 2.0), 1, 72), ((0.5, 2.1), 0.5, 4.2)]
)
def test_the_tolerance_is_in_millimetres_with_a_spacing(spacing, nsd, area):
    scores = score_masks(SQUARE, SHIFTED, 2.0, spacing)
    assert scores.nsd == pytest.approx((nsd,))
    assert scores.pred_area == pytest.approx((area,))


def test_a_volume_is_scored_in_three_dimensions():
    truth = np.zeros((1, 4, 4, 3), bool)
    pred = truth.copy()
    truth[0, 1:3, 1:3, 0] = pred[0, 1:3, 1:3, 1] = True
    assert score_masks(pred, truth, 2.0, (1, 1, 2)).nsd == (1,)
    assert score_masks(pred, truth, 2.0, (1, 1, 3)).nsd == (0,)
    assert score_masks(pred, truth, 2.0, (1, 1, 3)).truth_area == (12,)


def brute_boundary(volume: np.ndarray) -> list[tuple[int, ...]]:
    """Foreground cells with a neighbour over a face that is background or outside the image."""
    found = []
    for cell in zip(*np.nonzero(volume), strict=True):
        for axis, step in itertools.product(range(volume.ndim), (-1, 1)):
            other = list(cell)
            other[axis] += step
            inside = 0 <= other[axis] < volume.shape[axis]
            if not inside or not volume[tuple(other)]:
                found.append(cell)
                break
    return found


def brute_nsd(pred: np.ndarray, truth: np.ndarray, tolerance: float, spacing: tuple[float, ...]) -> float:
    sides = brute_boundary(pred), brute_boundary(truth)
    if not sides[0] or not sides[1]:
        return float(bool(sides[0]) == bool(sides[1]))
    near = 0
    for own, other in (sides, sides[::-1]):
        for a in own:
            nearest = min(math.dist(np.multiply(a, spacing), np.multiply(b, spacing)) for b in other)
            near += nearest <= tolerance + 1e-6
    return near / (len(sides[0]) + len(sides[1]))


@st.composite
def pairs(draw):
    shape = draw(array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6))
    fill = arrays(bool, (1, *shape), elements=st.booleans())
    spacing = tuple(draw(st.sampled_from([0.5, 1.0, 1.7])) for _ in shape)
    return draw(fill), draw(fill), spacing, draw(st.sampled_from([0.0, 1.0, 1.6, 2.0]))


@settings(max_examples=80, deadline=None)
@given(pairs())
def test_scores_equal_their_definitions(case):
    pred, truth, spacing, tolerance = case
    scores = score_masks(pred, truth, tolerance, spacing)
    inter, total, union = (pred & truth).sum(), pred.sum() + truth.sum(), (pred | truth).sum()
    assert scores.nsd[0] == pytest.approx(brute_nsd(pred[0], truth[0], tolerance, spacing), abs=1e-6)
    assert scores.dsc[0] == pytest.approx(2 * inter / total if total else 1, abs=1e-6)
    assert scores.iou[0] == pytest.approx(inter / union if union else 1, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(pairs())
def test_scores_are_symmetric_and_within_bounds(case):
    pred, truth, spacing, tolerance = case
    there, back = score_masks(pred, truth, tolerance, spacing), score_masks(truth, pred, tolerance, spacing)
    for name in ("dsc", "nsd", "iou"):
        (score,) = getattr(there, name)
        assert 0 <= score <= 1
        assert (score,) == pytest.approx(getattr(back, name), abs=1e-6)
    assert there.iou[0] <= there.dsc[0] + 1e-6
    assert score_masks(pred, truth, tolerance + 1, spacing).nsd[0] >= there.nsd[0] - 1e-6


def test_no_mask_raises_a_warning_though_monai_would_of_empty_ones():
    batch = [torch.from_numpy(m)[None] for m in (EMPTY, EMPTY)]
    with pytest.warns(UserWarning, match="all 0"):
        assert compute_surface_dice(*batch, [2.0], include_background=True).isnan().all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert surface_dice(EMPTY, EMPTY).tolist() == [1]
        assert surface_dice(EMPTY, SQUARE).tolist() == [0]
        assert surface_dice(SQUARE, SQUARE).tolist() == [1]


@pytest.mark.parametrize(
    ("pred", "truth", "message"),
    [
        (SQUARE * 255, SQUARE, r"prediction must hold only 0 and 1, got 255: threshold it first"),
        (SQUARE, SQUARE * 0.4, r"truth must hold only 0 and 1, got 0.4"),
        (SQUARE, SQUARE * np.nan, r"truth must hold only 0 and 1, got nan"),
        (SQUARE, SQUARE[:, :2], r"one shape, got \(1, 3, 4\) and \(1, 2, 4\)"),
        (SQUARE[0], SQUARE[0], r"\(K, H, W\) or \(K, H, W, D\), got \(3, 4\)"),
        (SQUARE[:0], SQUARE[:0], r"got \(0, 3, 4\)"),
    ],
)
def test_masks_that_cannot_be_scored(pred, truth, message):
    with pytest.raises(InputError, match=message):
        score_masks(pred, truth)


@pytest.mark.parametrize("tolerance", [-1, math.nan, math.inf])
def test_tolerances_that_are_not_possible(tolerance):
    with pytest.raises(ValueError, match="tolerance must be zero or more and finite"):
        score_masks(SQUARE, SQUARE, tolerance)


@pytest.mark.parametrize("spacing", [0, -1.0, (1, 1, 1), (1.0, math.nan), ()])
def test_spacings_that_are_not_possible(spacing):
    with pytest.raises(ValueError, match="spacing must be 1 or 2 positive numbers"):
        score_masks(SQUARE, SQUARE, spacing=spacing)
