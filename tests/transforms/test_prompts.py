from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.data import MetaTensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.transforms import PromptsFromMask, PromptsFromMaskd, VisualPrompts

MASK = np.zeros((2, 8, 10), dtype=bool)
MASK[0, 1:4, 2:7] = True  # rows 1-3, columns 2-6
MASK[0, 6, 8] = True

MASKS = hnp.arrays("bool", st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 9)))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"boxes": "single"}, [[2, 1, 8, 6]]),
        ({"boxes": "components"}, [[2, 1, 6, 3], [8, 6, 8, 6]]),
        ({"boxes": "components", "box_margin": 0.2}, [[1, 0.4, 7, 3.6], [7.8, 5.8, 8.2, 6.2]]),
        ({"boxes": "single", "box_margin": 1.0}, [[0, 0, 9, 7]]),
    ],
)
def test_boxes_run_from_the_first_to_the_last_foreground_pixel(options, expected):
    first, empty = PromptsFromMask(**options)(MASK)
    assert first.boxes is not None and first.boxes.dtype == torch.float32
    torch.testing.assert_close(first.boxes, torch.tensor(expected, dtype=torch.float32))
    assert first.points is None and first.labels is None
    assert empty.boxes is not None and empty.boxes.shape == (0, 4) and len(empty) == 0


@pytest.mark.parametrize(
    ("options", "prompts"),
    [
        ({"boxes": None}, 1),
        ({"boxes": None, "point_sets": "single"}, 1),
        ({"boxes": None, "point_sets": "components"}, 2),
        ({"boxes": "single"}, 1),
        ({"boxes": "components"}, 2),
        ({"boxes": "components", "point_sets": "components"}, 2),
    ],
)
def test_there_is_one_set_of_points_for_each_prompt(options, prompts):
    first, empty = PromptsFromMask(points=4, **options)(MASK)
    assert len(first) == prompts and first.points.shape == (prompts, 4, 2)
    assert first.labels.tolist() == [[1] * 4] * prompts
    assert (first.boxes is None) == (options["boxes"] is None)
    assert len(empty) == 0 and empty.points.shape == (0, 4, 2) and empty.labels.shape == (0, 4)


def test_each_component_gets_points_of_its_own():
    large, small = PromptsFromMask("components", points=3, point_margin=0)(MASK)[0].points
    assert all(2 <= x <= 6 and 1 <= y <= 3 for x, y in large.tolist())
    assert small.tolist() == [[8, 6]] * 3


@pytest.mark.parametrize(
    ("margin", "expected"),
    [(0, 25), (1, 9), (2, 1), (50, 1)],  # pixels of a 5 x 5 square that deep; the deepest one where none is
)
def test_points_keep_away_from_the_border(margin, expected):
    mask = np.zeros((1, 9, 9))
    mask[0, 2:7, 2:7] = 1
    (points,) = PromptsFromMask(None, points=100, point_margin=margin)(mask)[0].points
    assert len({tuple(point) for point in points.tolist()}) == expected
    assert [4.0, 4.0] in points.tolist()


def test_the_border_of_the_image_is_a_border_of_the_mask():
    (points,) = PromptsFromMask(None, points=20, point_margin=2)(np.ones((1, 5, 5)))[0].points
    assert points.unique(dim=0).tolist() == [[2, 2]]


def test_the_same_mask_gives_the_same_points_whatever_else_happens():
    mask = np.ones((1, 20, 20))
    make = PromptsFromMask(None, points=5, seed=3)
    state = torch.get_rng_state()
    first = make(mask)[0].points
    assert torch.equal(torch.get_rng_state(), state), "the global generator must not be used"
    torch.rand(7)
    assert torch.equal(make(np.concatenate([mask * 0, mask]))[1].points, first)
    assert not torch.equal(PromptsFromMask(None, points=5, seed=4)(mask)[0].points, first)


@settings(max_examples=100, deadline=None)
@given(MASKS, st.sampled_from(["single", "components"]), st.floats(0, 2), st.integers(0, 3))
def test_boxes_hold_the_mask_and_points_lie_inside_it(mask, boxes, margin, depth):
    found = PromptsFromMask(boxes, points=3, box_margin=margin, point_margin=depth)(mask)
    height, width = mask.shape[1:]
    for channel, prompts in zip(mask, found, strict=True):
        assert (len(prompts) > 0) == channel.any()
        rows, columns = np.nonzero(channel)
        inside = np.zeros(len(rows), dtype=bool)
        for (x0, y0, x1, y1), points in zip(prompts.boxes.tolist(), prompts.points.tolist(), strict=True):
            assert 0 <= x0 <= x1 <= width - 1 and 0 <= y0 <= y1 <= height - 1
            inside |= (columns >= x0) & (columns <= x1) & (rows >= y0) & (rows <= y1)
            assert all(channel[int(y), int(x)] for x, y in points)
            assert all(x0 <= x <= x1 and y0 <= y <= y1 for x, y in points)
        assert inside.all()


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy, lambda mask: MetaTensor(torch.from_numpy(mask))])
def test_every_kind_of_mask_is_taken(make):
    prompts = PromptsFromMask("single", points=1)(make(MASK))[0]
    assert type(prompts.boxes) is torch.Tensor and type(prompts.points) is torch.Tensor


def test_dictionary_version_puts_a_list_under_the_output_key():
    out = PromptsFromMaskd("coarse", "prompts", boxes="components")({"coarse": MASK})
    assert [len(prompts) for prompts in out["prompts"]] == [2, 0] and out["coarse"] is MASK


def test_the_dictionary_version_hands_every_parameter_on():
    options = {"boxes": None, "points": 3, "point_sets": "components", "point_margin": 1.0, "seed": 7}
    assert PromptsFromMaskd("coarse", **options).converter == PromptsFromMask(**options)
    assert PromptsFromMaskd("coarse", box_margin=0.5).converter == PromptsFromMask(box_margin=0.5)
    with pytest.raises(InputError, match="need boxes or points"):
        PromptsFromMaskd("coarse", boxes=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"boxes": None}, "need boxes or points"),
        ({"boxes": "each"}, "boxes must be one of single, components or None, got 'each'"),
        ({"point_sets": "each"}, "point_sets must be"),
        ({"boxes": "single", "points": 1, "point_sets": "components"}, "one set of points for each box"),
        ({"points": -1}, "points must be a whole number from 0 to 1,000, got -1"),
        ({"box_margin": -0.1}, "box_margin must be a number from 0 to 100, got -0.1"),
        ({"point_margin": float("nan")}, "point_margin must be a number from 0 to 100,000, got nan"),
    ],
)
def test_impossible_parameters_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PromptsFromMask(**options)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "need boxes or points"),
        ({"boxes": torch.zeros(4)}, r"boxes must be \(N, 4\)"),
        ({"points": torch.zeros(1, 2, 2)}, "go together"),
        ({"points": torch.zeros(1, 2, 2), "labels": torch.ones(1, 3)}, "points must be"),
        ({"boxes": torch.zeros(2, 4), "points": torch.zeros(1, 2, 2), "labels": torch.ones(1, 2)}, "one box for each"),
        ({"boxes": torch.zeros(2, 4), "masks": torch.zeros(1, 8, 8)}, r"masks must be \(2, H, W\), one for each"),
    ],
)
def test_prompts_that_do_not_fit_together_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        VisualPrompts(**fields)


def test_each_of_several_boxes_gets_its_own_part_of_a_mask():
    mask = torch.zeros(12, 16, dtype=torch.bool)
    mask[2:5, 3:7] = mask[7:11, 8:15] = True
    (one,), (each,) = (PromptsFromMask(boxes)(mask[None]) for boxes in ("single", "components"))
    assert torch.equal(one.with_mask(mask).masks, mask[None].float())
    masks = each.with_mask(mask).masks
    assert masks.shape == (2, 12, 16) and torch.equal(masks.sum(dim=0), mask.float())
    assert sorted(masks.flatten(1).sum(dim=1).tolist()) == [12, 28]
    with pytest.raises(ValueError, match=r"a mask must be \(H, W\), got \(1, 12, 16\)"):
        one.with_mask(mask[None])


def test_a_volume_is_refused():
    with pytest.raises(ValueError, match="slice by slice"):
        PromptsFromMask()(np.ones((1, 2, 2, 2)))
