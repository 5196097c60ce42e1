"""In which slices a class is looked for, and how its coarse masks are cut from what was found in the whole volume."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F

from medclipsam_monai.transforms import KeepLargestComponents
from medclipsam_monai.transforms.coarse import CoarseMask, FixedThreshold, OtsuThreshold
from medclipsam_monai.zero_shot.volumes.evidence import VolumeCoarse, VolumeEvidence, balanced, present_slices, smoothed

THICK = 10.0
FINE = 1.0


def restore(grid: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(grid, shape, mode="bilinear", align_corners=False)


def runs(presence: list[float], step: float | None = THICK, threshold: float = 0.5) -> list[int]:
    column = torch.tensor(presence)[:, None]
    return present_slices(smoothed(column, step), threshold)[:, 0].nonzero().flatten().tolist()


def test_a_run_holds_a_surer_slice_and_goes_on_down_to_the_threshold():
    assert runs([0.1, 0.55, 0.9, 0.6, 0.8, 0.55, 0.1, 0.6, 0.1]) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("threshold", "surer"), [(0.2, 0.3), (0.5, 0.75), (0.8, 0.9)])
def test_a_run_of_any_threshold_can_be_reached(threshold, surer):
    assert runs([0.01, threshold + 0.01, surer + 0.02, 0.01], threshold=threshold) == [1, 2]
    assert runs([0.01, threshold + 0.01, surer - 0.02, 0.01], threshold=threshold) == []


def test_what_is_like_the_class_elsewhere_is_less_sure_than_the_class():
    surest = [0.01, 0.9, 0.01]  # odds of 9: another run must have 3, which is 0.75
    assert runs([0.72, 0.72, *surest, 0.78, 0.6]) == [3, 5, 6]
    certain = [0.01, 0.999, 0.01]
    assert runs([0.93, 0.93, *certain, 0.97, 0.97]) == [3, 5, 6]
    assert runs([0.77, 0.72, 0.01, 0.01]) == [0, 1], "alone it is the surest"


def test_two_runs_stay_two():
    assert runs([0.9, 0.9, 0.01, 0.01, 0.01, 0.9, 0.9]) == [0, 1, 5, 6]


@pytest.mark.parametrize("step", [THICK, FINE, None])
def test_a_class_that_no_slice_shows_is_looked_for_nowhere(step):
    assert runs([0.7] * 12, step) == []


@pytest.mark.parametrize("step", [THICK, FINE, None])
def test_a_class_that_all_slices_show_is_looked_for_in_all(step):
    assert runs([0.8] * 12, step) == list(range(12))


def test_millimetres_count_and_not_slices():
    speckle = [0.01] * 10 + [0.9] + [0.01] * 10
    assert runs(speckle, THICK) == [10]  # a slice of 10 mm speaks for itself
    assert runs(speckle, FINE) == []  # one of 1 mm does not
    gap = [0.9] * 10 + [0.01] + [0.9] * 10
    assert runs(gap, THICK) == [*range(10), *range(11, 21)]
    assert runs(gap, FINE) == list(range(21))


def test_a_threshold_of_nothing_looks_everywhere():
    assert runs([0.0, 1e-9, 0.2], threshold=0.0) == [0, 1, 2]


def test_what_cannot_be_told_is_looked_for_everywhere():
    presence = torch.tensor([[torch.nan, 0.9], [torch.nan, 0.1], [torch.nan, 0.1]])
    found = present_slices(smoothed(presence, THICK), 0.5)
    assert found.tolist() == [[True, True], [True, False], [True, False]]  # NaN counts everywhere


def test_one_slice():
    assert runs([0.8]) == [0] and runs([0.2]) == []
    assert float(smoothed(torch.tensor([[0.7]]), FINE)) == pytest.approx(0.7, abs=1e-5)


def body(depth: int = 6, first: int = 1, last: int = 3) -> VolumeEvidence:
    """A disk of 4 x 4 tokens in a run of slices of 8 x 8, brightest in its middle, dim elsewhere, one class of two."""
    grids = torch.full((depth, 2, 8, 8), 0.05)
    grids[:, 1] = 0
    for d in range(first, last + 1):
        grids[d, 0, 2:6, 2:6] = 0.7 if d in (first, last) else 1.0
    grids[-1, 0, 7, 7] = 0.15  # the brightest of an empty slice
    return VolumeEvidence(grids, torch.full((depth, 2), 0.6))


def masks(cut: VolumeCoarse, depth: int, picture: torch.Tensor | None = None) -> torch.Tensor:
    picture = torch.zeros(3, 32, 24) if picture is None else picture
    return torch.stack([cut.mask(d, cut.saliency(d), picture) for d in range(depth)], dim=-1)


def test_an_empty_slice_stays_empty_beside_a_full_one():
    cut = VolumeCoarse(body(), CoarseMask(OtsuThreshold(), None), restore, (32, 24), torch.ones(6, 2, dtype=torch.bool))
    found = masks(cut, 6)
    assert found.shape == (2, 32, 24, 6) and found.dtype == torch.bool
    assert found[0].flatten(0, 1).any(0).tolist() == [False, True, True, True, False, False]
    assert not found[1].any()  # the same everywhere: nothing stands out
    assert found[0, 10:22, 8:16, 2].all() and not found[0, :5].any() and not found[0, :, 20:].any()


def test_slices_without_a_class_are_left_out():
    present = torch.ones(6, 2, dtype=torch.bool)
    present[3:] = False
    cut = VolumeCoarse(body(), CoarseMask(OtsuThreshold(), None), restore, (32, 24), present)
    assert masks(cut, 6)[0].flatten(0, 1).any(0).tolist() == [False, True, True, False, False, False]
    assert float(cut.saliency(3).max()) == 0 and float(cut.saliency(2).max()) > 0.9


def test_a_class_that_is_looked_for_nowhere_has_no_mask_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nowhere = torch.zeros(6, 2, dtype=torch.bool)
        assert not masks(VolumeCoarse(body(), CoarseMask(), restore, (32, 24), nowhere), 6).any()


def test_components_are_chosen_in_three_dimensions():
    evidence = body(8, 1, 4)
    evidence.grids[6, 0, 0:6, 0:6] = 1.0  # larger in its slice than any section of the body, smaller as a whole
    everywhere = torch.ones(8, 2, dtype=torch.bool)
    for count, expected in ((1, (1, 2, 3, 4)), (2, (1, 2, 3, 4, 6))):
        coarse = CoarseMask(FixedThreshold(0.5), KeepLargestComponents(count))
        cut = VolumeCoarse(evidence, coarse, restore, (32, 24), everywhere)
        assert masks(cut, 8)[0].flatten(0, 1).any(0).tolist() == [d in expected for d in range(8)]


def test_another_way_to_make_masks_is_asked_slice_by_slice():
    seen = []

    def bright(saliency: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
        seen.append((tuple(saliency.shape), float(saliency.max())))
        return saliency > 0.6

    cut = VolumeCoarse(body(), bright, restore, (32, 24), torch.ones(6, 2, dtype=torch.bool))
    found = masks(cut, 6)
    assert [shape for shape, _ in seen] == [(2, 32, 24)] * 6
    assert seen[2][1] == pytest.approx(1.0) and seen[0][1] == pytest.approx(0.05)  # stretched over the volume
    assert found[0].flatten(0, 1).any(0).tolist() == [False, True, True, True, False, False]


def test_a_threshold_that_needs_the_image_gets_each_slice():
    class Looking(FixedThreshold):
        needs_image = True

        def foreground(self, channel, image):
            return (channel >= self.value) & (image[0] > 0.5)

    picture = torch.zeros(3, 32, 24)
    picture[:, :, 12:] = 1
    cut = VolumeCoarse(body(), CoarseMask(Looking(0.5), None), restore, (32, 24), torch.ones(6, 2, dtype=torch.bool))
    found = masks(cut, 6, picture)
    assert not found[..., :12, :].any() and found[0, 10:22, 12:16, 2].all()


def test_a_slice_that_surely_shows_a_class_is_stretched_on_its_own():
    grids = torch.zeros(4, 1, 8, 8)
    grids[:, 0, 2:6, 2:6] = torch.tensor([1.0, 0.2, 0.2, 0.2])[:, None, None]
    presence = torch.tensor([[0.95], [1.0], [0.6], [0.875]])
    everywhere = torch.ones(4, 1, dtype=torch.bool)
    found = balanced(VolumeEvidence(grids, presence), everywhere)
    assert found.amax(dim=(1, 2, 3)).tolist() == pytest.approx([1.0, 1.0, 0.2, 0.2**0.5], abs=1e-5)  # sure from 0.75
    unknown = balanced(VolumeEvidence(grids, torch.full((4, 1), torch.nan)), everywhere)
    assert unknown.amax(dim=(1, 2, 3)).tolist() == [1.0] * 4


def test_what_shines_where_a_class_is_not_dims_nothing():
    grids = torch.zeros(3, 1, 8, 8)
    grids[:, 0, 2:6, 2:6] = torch.tensor([1.0, 0.5, 0.25])[:, None, None]
    present = torch.tensor([[False], [True], [True]])
    found = balanced(VolumeEvidence(grids, torch.full((3, 1), 0.6)), present)
    assert found.amax(dim=(1, 2, 3)).tolist() == [1.0, 1.0, 0.5]
    assert not balanced(VolumeEvidence(torch.zeros(3, 1, 8, 8), torch.full((3, 1), 1.0)), present).any()
