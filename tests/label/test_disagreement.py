"""How much masks depend on the wording."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch

from medclipsam_monai import TextSegmenter
from medclipsam_monai.label.active.disagreement import prompt_disagreement
from medclipsam_monai.label.active.judged_slices import judged_slices
from medclipsam_monai.phantoms.samples import sample_pictures
from medclipsam_monai.prompts import TextTarget, parse_targets
from medclipsam_monai.zero_shot.wordings.agreement import WORDINGS, disagreement, soft_dice, wordings


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([0, 0], [0, 0], 1.0),
        ([1, 0], [0, 0], 0.0),
        ([1, 0], [0, 1], 0.0),
        ([1, 1], [1, 0], 2 / 3),
        ([0.5, 0.2], [0.5, 0.2], 1.0),
        ([1.0, 0.0], [0.5, 0.0], 0.8),
    ],
)
def test_soft_dice(first, second, expected):
    assert soft_dice(torch.tensor(first), torch.tensor(second)) == pytest.approx(expected)


def test_soft_dice_of_two_shapes_is_refused():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        soft_dice(torch.zeros(2), torch.zeros(3))


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        ([[1, 0], [1, 0], [1, 0]], 0.0),
        ([[0, 0], [0, 0]], 0.0),
        ([[1, 0], [0, 1]], 1.0),
        ([[1, 0], [1, 0], [0, 0]], 2 / 3),
    ],
)
def test_disagreement_is_one_less_the_mean_dice_of_pairs(maps, expected):
    assert disagreement(torch.tensor(maps)) == pytest.approx(expected)


def test_one_map_has_nothing_to_disagree_with():
    with pytest.raises(ValueError, match="at least 2 maps, got 1"):
        disagreement(torch.zeros(1, 4))


def test_a_target_is_worded_in_several_ways_and_its_own_ways_are_kept():
    one, two = parse_targets(["lungs", "heart=the heart", "heart=cardiac silhouette"])
    assert [target.sentences[0] for target in wordings(one)] == [wording.format("lungs") for wording in WORDINGS]
    assert [target.sentences for target in wordings(two)] == [("the heart",), ("cardiac silhouette",)]


def test_opposites_stay_with_every_wording():
    assert all(w.opposites == ("no tumor",) for w in wordings(TextTarget("tumor", ("tumor",), ("no tumor",))))


@pytest.fixture(scope="module")
def segmenter():
    return TextSegmenter.from_preset("demo", "cpu")


def test_the_same_wording_twice_does_not_disagree(segmenter):
    chest = segmenter.open(sample_pictures()["xray_normal"])
    same = (TextTarget("lungs", ("lungs", "lungs")),)
    assert prompt_disagreement(segmenter, chest, same) == pytest.approx(0.0, abs=1e-6)


def test_other_words_disagree_more_than_like_ones(segmenter):
    chest = segmenter.open(sample_pictures()["xray_normal"])
    like, other = parse_targets("lungs"), (TextTarget("lungs", ("lungs", "heart")),)
    assert 0 < prompt_disagreement(segmenter, chest, like) < prompt_disagreement(segmenter, chest, other) <= 1


def test_several_classes_count_alike(segmenter):
    chest = segmenter.open(sample_pictures()["xray_normal"])
    alone = [prompt_disagreement(segmenter, chest, parse_targets(name)) for name in ("lungs", "heart")]
    both = prompt_disagreement(segmenter, chest, parse_targets(["lungs", "heart"]))
    assert both == pytest.approx(sum(alone) / 2, abs=1e-3)


@pytest.mark.parametrize(("depth", "slices"), [(3, 3), (8, 8), (40, 8)])
def test_of_a_volume_some_slices_are_looked_at(segmenter, tmp_path, depth, slices):
    levels = np.broadcast_to(np.arange(depth, dtype=np.int16) * 100, (16, 20, depth))
    nib.save(nib.Nifti1Image(levels, np.eye(4)), tmp_path / "volume.nii.gz")
    opened = segmenter.open(tmp_path / "volume.nii.gz", window="full")
    pictures = torch.cat([encoded.pictures for encoded in judged_slices(opened)])
    assert pictures.shape == (slices, 3, 20, 16)
    grey = pictures[:, 0, 0, 0]
    assert len(set(grey.tolist())) == slices
    assert grey.mean() == pytest.approx(0.5, abs=0.03)


def test_a_picture_is_looked_at_whole(segmenter):
    opened = segmenter.open(sample_pictures()["xray_normal"])
    (encoded,) = judged_slices(opened)
    torch.testing.assert_close(encoded.pictures[0], opened.display)
