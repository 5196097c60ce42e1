"""Drawn sections of chest and abdomen: the same from the same seed, and what the masks say is what is seen."""

from __future__ import annotations

import numpy as np
import pytest

from medclipsam_monai.phantoms.volumes import VOLUME_TARGETS
from tools.small.anatomy import draw_torso
from tools.small.texts.words import ABSENT, COLUMN, PRESENT, UNKNOWN

ORGANS = VOLUME_TARGETS["chest_abdomen_ct"]
COUNT = 240


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(3)
    return [draw_torso(rng) for _ in range(COUNT)]


def test_a_seed_draws_one_picture():
    first, second = (draw_torso(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert first.masks.keys() == second.masks.keys()


def test_the_state_names_what_is_seen(pictures):
    for picture in pictures:
        assert picture.kind == "torso_ct" and picture.pixels.shape == (224, 224, 3) and picture.pixels.dtype == np.uint8
        assert set(picture.masks) <= set(ORGANS)
        assert np.sum(list(picture.masks.values()), axis=0).max(initial=0) <= 1
        for name in ORGANS:
            state = picture.state[COLUMN[name]]
            assert (state == PRESENT) == (name in picture.masks) and state in (PRESENT, ABSENT, UNKNOWN)
        assert picture.state[COLUMN["blood vessel"]] == UNKNOWN and picture.state[COLUMN["tumour"]] == ABSENT


def test_every_organ_is_seen_often_and_missing_often(pictures):
    for name in ORGANS:
        assert 0.1 < np.mean([name in picture.masks for picture in pictures]) < 0.95, name
    assert {picture.state[COLUMN["spleen"]] for picture in pictures} >= {PRESENT, ABSENT}


def test_organs_lie_where_a_section_is_looked_at_from_below(pictures):
    middle = {name: [np.argwhere(p.masks[name]).mean(0) for p in pictures if name in p.masks] for name in ORGANS}
    rows = {name: np.mean([at[0] for at in places]) for name, places in middle.items()}
    columns = {name: np.mean([at[1] for at in places]) for name, places in middle.items()}
    assert columns["liver"] < 100 < 125 < columns["spleen"]  # the patient's right is at the left
    assert rows["kidneys"] > rows["liver"] and rows["aorta"] > rows["heart"]


def test_contrast_varies_and_the_spleen_is_often_like_the_liver(pictures):
    both = [p for p in pictures if {"liver", "spleen"} <= p.masks.keys()]
    apart = [
        abs(np.median(p.pixels[p.masks["liver"]].astype(int)) - np.median(p.pixels[p.masks["spleen"]])) for p in both
    ]
    assert len(both) > 10 and np.mean(np.array(apart) < 40) > 0.4
    livers = [np.median(p.pixels[p.masks["liver"]]) for p in pictures if "liver" in p.masks]
    assert np.std(livers) > 15
