from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medclipsam_monai.transforms import (
    KeepConfidentComponents,
    KeepLargestComponents,
    as_many_components,
    count_components,
    label_components,
)

MASK = np.array(
    [
        [
            [1, 1, 0, 0, 1],
            [0, 0, 1, 0, 1],
            [1, 0, 0, 0, 1],
        ],
        [
            [0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0],
        ],
    ]
)


@pytest.mark.parametrize(("connectivity", "expected"), [(1, [4, 0]), (2, [3, 0])])
def test_components_are_counted_in_each_channel(connectivity, expected):
    assert count_components(MASK, connectivity) == expected
    assert count_components(torch.from_numpy(MASK) > 0, connectivity) == expected


def test_components_are_numbered_in_reading_order():
    labels, n = label_components(MASK[0])
    assert n == 3
    assert labels.tolist() == [[1, 1, 0, 0, 2], [0, 0, 1, 0, 2], [3, 0, 0, 0, 2]]


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (KeepLargestComponents(), [[1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]),
        (KeepLargestComponents(connectivity=1), [[0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1]]),
        (KeepLargestComponents(2), [[1, 1, 0, 0, 1], [0, 0, 1, 0, 1], [0, 0, 0, 0, 1]]),
        (KeepLargestComponents(9), MASK[0].tolist()),
        (KeepLargestComponents(0), np.zeros((3, 5), dtype=int).tolist()),
        (KeepLargestComponents([2, 1]), [[1, 1, 0, 0, 1], [0, 0, 1, 0, 1], [0, 0, 0, 0, 1]]),
    ],
)
def test_the_largest_components_are_kept(keep, expected):
    out = keep(MASK)
    assert out.dtype == bool
    assert out[0].astype(int).tolist() == expected
    assert not out[1].any()


def test_of_equal_components_the_first_are_kept():
    mask = np.tile([1, 0], 50)[None, None]
    assert np.flatnonzero(KeepLargestComponents(3)(mask)).tolist() == [0, 2, 4]


def test_counts_of_one_mask_limit_another():
    final = np.zeros((2, 1, 7))
    final[0, 0] = [1, 0, 1, 1, 0, 1, 0]
    final[1, 0] = [1, 1, 1, 1, 1, 1, 1]
    coarse = np.zeros((2, 1, 7))
    coarse[0, 0, 2:4] = 1
    out = KeepLargestComponents(count_components(coarse))(final)
    assert out[:, 0].astype(int).tolist() == [[0, 0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (None, [[1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]]),
        (0.75, [[1, 1, 1, 0, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]]),
        (0.5, [[1, 1, 1, 0, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]]),  # covered by more
        (0.4, [[1, 1, 1, 0, 1, 0, 1, 1], [1, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]]),
    ],
)
def test_a_coarse_mask_that_joins_what_the_mask_parts_keeps_both_where_it_covers_them(share, expected):
    final = torch.tensor([[[1, 1, 1, 0, 1, 0, 1, 1]], [[1, 1, 1, 0, 1, 0, 0, 0]], [[1, 1, 1, 0, 1, 0, 0, 0]]]).bool()
    coarse = torch.tensor([[[1, 1, 1, 1, 1, 1, 1, 0]], [[0, 1, 0, 0, 0, 0, 0, 0]], [[0, 0, 0, 0, 0, 0, 0, 0]]]).bool()
    out = as_many_components(final, coarse, share)
    assert out.dtype == torch.bool
    assert out[:, 0].int().tolist() == expected


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (KeepConfidentComponents(0.5), [1, 1, 0, 0, 0, 0]),
        (KeepConfidentComponents(0.25), [1, 1, 0, 1, 0, 0]),
        (KeepConfidentComponents(0.0), [1, 1, 0, 1, 0, 1]),
        (KeepConfidentComponents(0.75), [0, 0, 0, 0, 0, 0]),  # must exceed it
        (KeepConfidentComponents(0.75, keep_best=True), [1, 1, 0, 0, 0, 0]),
        (KeepConfidentComponents(0.5, keep_best=True), [1, 1, 0, 0, 0, 0]),
    ],
)
def test_components_are_kept_by_their_mean_saliency(keep, expected):
    mask = np.array([[[1, 1, 0, 1, 0, 1]]])
    saliency = np.array([[[1.0, 0.5, 1.0, 0.5, 1.0, 0.25]]])
    assert keep(mask, saliency)[0, 0].astype(int).tolist() == expected


@pytest.mark.parametrize("keep_best", [False, True])
def test_an_empty_mask_stays_empty(keep_best):
    assert not KeepConfidentComponents(keep_best=keep_best)(np.zeros((2, 3, 3)), np.ones((2, 3, 3))).any()


def test_kind_and_meta_data_are_kept():
    mask = MetaTensor(torch.from_numpy(MASK), meta={"filename_or_obj": "a.png"})
    out = KeepLargestComponents()(mask)
    assert isinstance(out, MetaTensor) and out.dtype == torch.bool and out.meta["filename_or_obj"] == "a.png"
    assert isinstance(KeepConfidentComponents()(MASK, torch.ones(2, 3, 5)), np.ndarray)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: KeepConfidentComponents()(MASK), "needs the saliency"),
        (lambda: KeepConfidentComponents()(MASK, np.ones((1, 3, 5))), "must have the mask's shape"),
        (lambda: KeepLargestComponents()(np.ones((2, 2))), r"mask must be \(K, H, W\[, D\]\), got shape \(2, 2\)"),
        (lambda: count_components(np.ones((1, 2, 2, 2))), "slice by slice"),
        (lambda: KeepLargestComponents([1])(MASK), "one number for each of the 2 channels, got 1"),
        (lambda: KeepLargestComponents(-1), "k must be a whole number from 0 or a list of them, got -1"),
        (lambda: KeepLargestComponents([1, -2]), r"k must be a whole number from 0 or a list of them, got \[1, -2\]"),
        (lambda: KeepLargestComponents(connectivity=3), "connectivity must be a whole number from 1 to 2, got 3"),
        (lambda: KeepConfidentComponents(connectivity=0), "connectivity must be a whole number from 1 to 2, got 0"),
        (lambda: count_components(MASK, connectivity=8), "connectivity must be 1"),
        (lambda: count_components(MASK[0]), "must be"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
