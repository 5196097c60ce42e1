"""Drawn breasts and brains: the same from the same seed, no two alike, and what the masks say is what is seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from tools.small.anatomy import draw_brain, draw_breast
from tools.small.texts.words import ABSENT, COLUMN, CONCEPTS, PRESENT, UNKNOWN

COUNT = 120
LESIONS = {
    "breast_ultrasound": ("benign tumour", "malignant tumour", "cyst"),
    "brain_mri": ("brain tumour",),
}
OTHERS = {"breast_ultrasound": (), "brain_mri": ("ventricles",)}
DRAW = {"breast_ultrasound": draw_breast, "brain_mri": draw_brain}


@pytest.fixture(scope="module", params=list(DRAW))
def drawn(request):
    rng = np.random.default_rng(11)
    return request.param, [DRAW[request.param](rng) for _ in range(COUNT)]


@pytest.mark.parametrize("kind", list(DRAW))
def test_a_seed_draws_one_picture(kind):
    first, second = (DRAW[kind](np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert list(first.masks) == list(second.masks)
    for name in first.masks:
        np.testing.assert_array_equal(first.masks[name], second.masks[name])


def test_pictures_are_grey_bytes_of_varied_proportions_and_none_is_drawn_twice(drawn):
    kind, pictures = drawn
    for picture in pictures:
        height, width, channels = picture.pixels.shape
        assert picture.kind == kind and picture.pixels.dtype == np.uint8 and channels == 3
        assert min(height, width) > 120 and max(height, width) < 400
        assert (picture.pixels == picture.pixels[..., :1]).all() and picture.pixels.std() > 5
    assert len({picture.pixels.tobytes() for picture in pictures}) == COUNT
    assert len({picture.pixels.shape for picture in pictures}) > COUNT / 2


def test_masks_lie_in_the_picture_apart_from_each_other_and_the_state_names_them(drawn):
    kind, pictures = drawn
    for picture in pictures:
        for mask in picture.masks.values():
            assert mask.dtype == bool and mask.shape == picture.pixels.shape[:2]
            assert 12 <= mask.sum() < 0.5 * mask.size
        assert np.sum(list(picture.masks.values()), axis=0).max() <= 1
        assert set(picture.masks) <= {*LESIONS[kind], *OTHERS[kind]}
        for name in (*LESIONS[kind], *OTHERS[kind]):
            assert picture.state[COLUMN[name]] == (PRESENT if name in picture.masks else ABSENT)
        seen = any(name in picture.masks for name in LESIONS[kind])
        assert picture.state[COLUMN["abnormality"]] == (PRESENT if seen else ABSENT)


def test_a_brain_may_show_the_hippocampus_but_has_no_haematoma():
    state = draw_brain(np.random.default_rng(1)).state
    assert state[COLUMN["hippocampus"]] == UNKNOWN and state[COLUMN["haematoma"]] == ABSENT
    assert "brain_mri" in CONCEPTS["haematoma"].kinds


def test_a_quarter_has_no_lesion_and_a_few_have_two(drawn):
    kind, pictures = drawn
    masks = [[picture.masks[name] for name in LESIONS[kind] if name in picture.masks] for picture in pictures]
    counts = np.array([sum(ndimage.label(ndimage.binary_opening(mask))[1] for mask in of) for of in masks])
    assert 0.15 < np.mean([not of for of in masks]) < 0.36
    assert 0.02 < np.mean(counts == 2) < 0.3


def test_lesions_differ_from_what_is_around_them(drawn):
    kind, pictures = drawn
    margins = []
    for picture in pictures:
        grey = picture.pixels[..., 0].astype(float)
        for name in LESIONS[kind]:
            if name in picture.masks:
                mask = picture.masks[name]
                ring = ndimage.binary_dilation(mask, iterations=6) & ~ndimage.binary_dilation(mask, iterations=1)
                margins.append(abs(grey[mask].mean() - grey[ring].mean()) / max(grey[ring].mean(), 10))
    assert np.mean(np.array(margins) > 0.1) > 0.85
    assert np.median(margins) > 0.2


def test_lesions_are_of_many_sizes_and_a_cyst_is_darker_than_a_tumour(drawn):
    kind, pictures = drawn
    shares = [p.masks[n].any(0).mean() for p in pictures for n in LESIONS[kind] if n in p.masks]
    assert np.percentile(shares, 10) < 0.17 and np.percentile(shares, 90) > 2 * np.percentile(shares, 10)
    if kind == "breast_ultrasound":
        cysts, solid = (
            np.median([p.pixels[p.masks[n]].mean() for p in pictures for n in names if n in p.masks])
            for names in (("cyst",), ("benign tumour", "malignant tumour"))
        )
        assert cysts < 0.7 * solid
