"""The file of known pictures: from groups of summaries to centres, and names that fit the preset."""

from __future__ import annotations

import pytest
import torch

from medclipsam_monai.presets import load_preset
from tools.small.fitted.known_pictures import KNOWN_AS, Group, known_pictures, odd_pictures, report
from tools.small.texts.words import KINDS

FEATURES = 6


def group(name: str, kind: str, place: float, count: int = 64, seed: int = 0) -> Group:
    """Points about (place, -place, 0...), ten times as wide along the last axis as along the others."""
    rng = torch.Generator().manual_seed(seed)
    points = torch.randn(count, FEATURES, generator=rng)
    points[:, -1] *= 10
    points[:, 0] += place
    points[:, 1] -= place
    return Group(name, kind, points)


@pytest.fixture(scope="module")
def known():
    train = [group("a", "CT", 20), group("b", "CT", -20, seed=1), group("c", "MRI", 60, seed=2)]
    choose = [group("a", "CT", 20, seed=3), group("c", "MRI", 60, seed=4)]
    return known_pictures(train, choose, within=0.96)


def test_every_group_of_a_kind_has_centres_and_the_share_to_choose_by_is_familiar(known):
    assert set(known.kinds) == {"CT", "MRI"}
    for place, kind in ((20, "CT"), (-20, "CT"), (60, "MRI")):
        nearest = known.nearest(group("", "", place, 200, seed=5).summaries)
        assert {one.kind for one in nearest} == {kind}
        assert 0.85 < sum(one.familiar for one in nearest) / 200 <= 1
    choose = torch.cat([group("", "", 20, seed=3).summaries, group("", "", 60, seed=4).summaries])
    assert sum(one.familiar for one in known.nearest(choose)) == pytest.approx(0.96 * len(choose), abs=1)


def test_far_is_what_is_far_by_the_spread_of_the_pictures(known):
    points = torch.zeros(2, FEATURES)
    points[:, 0], points[:, 1] = 20, -20
    points[0, -1] = points[1, 2] = 12
    wide, narrow = known.nearest(points)
    assert wide.familiar and not narrow.familiar


def test_a_report_counts_what_is_familiar_and_right(known):
    rows = report(known, [group("x", "CT", 20, 50, seed=7), group("far", "", 500, 10)]).splitlines()
    assert rows[2].startswith("| x | 50 | ") and "| 1.00 | 1.00 |" in rows[2]
    assert rows[3].startswith("| far | 10 | 0.00 | nan | nan |")


def test_kinds_of_pictures_are_called_as_the_preset_calls_them():
    assert KNOWN_AS.keys() == KINDS.keys()
    assert set(KNOWN_AS.values()) == load_preset("small").knows.keys()


def test_odd_pictures_are_pictures():
    for name, pixels in odd_pictures(64).items():
        assert pixels.shape == (64, 64, 3) and pixels.dtype.name == "uint8" and pixels.std() > 5, name
