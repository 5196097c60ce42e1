"""Drawn sections of the head: the same from the same seed, and what the masks say is what is seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medclipsam_monai.phantoms.volumes import VOLUME_TARGETS
from tools.small.anatomy import draw_head_section
from tools.small.texts.words import ABSENT, COLUMN, PRESENT, UNKNOWN

TARGETS = VOLUME_TARGETS["head_mr"]


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(3)
    return [draw_head_section(rng) for _ in range(80)]


def test_a_seed_draws_one_picture():
    first, second = (draw_head_section(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert first.masks.keys() == second.masks.keys()


def test_the_state_names_what_is_seen(pictures):
    for picture in pictures:
        assert (
            picture.kind == "brain_mri" and picture.pixels.shape == (224, 224, 3) and picture.pixels.dtype == np.uint8
        )
        assert set(picture.masks) <= set(TARGETS)
        assert np.sum(list(picture.masks.values()), axis=0).max(initial=0) <= 1
        for name in TARGETS:
            state = picture.state[COLUMN[name]]
            assert (state == PRESENT) == (name in picture.masks) and state in (PRESENT, ABSENT, UNKNOWN)
        assert picture.state[COLUMN["hippocampus"]] == UNKNOWN and picture.state[COLUMN["liver"]] == ABSENT


def test_every_target_is_seen_often_and_missing_often(pictures):
    for name in TARGETS:
        assert 0.1 < np.mean([name in picture.masks for picture in pictures]) < 0.8, name
    assert any(not picture.masks for picture in pictures)


def test_what_a_mask_holds_differs_from_what_is_around_it(pictures):
    for name in TARGETS:
        contrast = []
        for picture in pictures:
            if name in picture.masks:
                mask, pixels = picture.masks[name], picture.pixels[..., 0].astype(float)
                ring = ndimage.binary_dilation(mask, iterations=4) & ~mask
                contrast.append(abs(np.median(pixels[mask]) - np.median(pixels[ring])) / max(1.0, pixels.max()))
        assert np.median(contrast) > 0.1, name


def test_the_sequence_varies(pictures):
    shown = [p for p in pictures if "ventricles" in p.masks]
    brighter = [p.pixels[p.masks["ventricles"]].mean() > p.pixels[p.pixels > 20].mean() for p in shown]
    assert 0.05 < np.mean(brighter) < 0.6
