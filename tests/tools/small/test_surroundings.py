"""Arms and boards beside a drawn trunk: in the air alone, now and then, and never over the body."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from tools.small.anatomy.surroundings import lay_beside


def trunk() -> np.ndarray:
    """(160, 200) HU: an oval of soft tissue with air inside, in air."""
    y, x = np.mgrid[:160, :200]
    image = np.full((160, 200), -1000.0, np.float32)
    image[((x - 100) / 60) ** 2 + ((y - 70) / 40) ** 2 < 1] = 40
    image[((x - 80) / 15) ** 2 + ((y - 70) / 20) ** 2 < 1] = -850
    return image


def test_the_body_and_the_air_in_it_stay_as_they_were():
    rng = np.random.default_rng(0)
    before = trunk()
    body = ndimage.binary_fill_holes(before > -400)
    for _ in range(30):
        after = before.copy()
        lay_beside(rng, after)
        np.testing.assert_array_equal(after[body], before[body])
        assert after.min() >= -1000


def test_arms_lie_left_and_right_and_boards_underneath():
    rng = np.random.default_rng(1)
    seen = {"left": 0, "right": 0, "under": 0, "nothing": 0, "bone": 0}
    for _ in range(200):
        image = trunk()
        lay_beside(rng, image)
        new = image > trunk() + 100
        seen["left"] += bool(new[:92, :38].any())
        seen["right"] += bool(new[:92, 162:].any())
        seen["under"] += bool(new[112:, 90:110].any())
        seen["nothing"] += not new.any()
        seen["bone"] += bool((image > 400).any())
        assert not new[:25].any()
    assert seen["left"] == seen["right"] and 60 < seen["left"] < 130
    assert 70 < seen["under"] < 130 and 30 < seen["nothing"] < 90 and seen["bone"] > 60


def test_an_empty_section_stays_empty():
    image = np.full((40, 40), -1000.0, np.float32)
    lay_beside(np.random.default_rng(0), image)
    assert (image == -1000).all()
