"""Simulated annotation campaigns."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from medclipsam_monai.phantoms.folder import draw_phantom_folder
from tools.campaign import campaign
from tools.campaign import simulate as script
from tools.campaign.campaign import STRATEGIES, CampaignImage, Row, run_campaign, split, summarise
from tools.campaign.quick_training import (
    SIDE,
    at_size,
    mean_probability,
    quick_mask,
    quick_picture,
    train_members,
    uncertainty_scores,
)


def bright_square(place: int, doubt: float = 0.0) -> CampaignImage:
    """A bright square on noise, at a place that depends on the number."""
    noise = np.random.default_rng(place)
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    top, left = noise.integers(4, SIDE - 28, 2)
    mask[top : top + 24, left : left + 24] = True
    picture = 100 * mask + torch.from_numpy(noise.normal(60, 10, (SIDE, SIDE))).float()
    angle = torch.tensor(float(place))
    embedding = torch.stack([angle.cos(), angle.sin()])
    return CampaignImage(quick_picture(picture[None]), quick_mask(mask), mask, doubt, embedding, 0.5)


@pytest.fixture(scope="module")
def squares() -> list[CampaignImage]:
    return [bright_square(place, doubt=place / 100) for place in range(14)]


@pytest.fixture(scope="module")
def members(squares):
    pictures, masks = (torch.stack([getattr(c, name) for c in squares[:8]]) for name in ("picture", "quick_mask"))
    return train_members(pictures, masks, steps=90, seed=0)


def test_the_quick_network_learns(members, squares):
    found = mean_probability(members, torch.stack([case.picture for case in squares[8:]]))
    truth = torch.stack([case.mask for case in squares[8:]])
    dice = 2 * ((found > 0.5) & truth).sum() / ((found > 0.5).sum() + truth.sum())
    assert len(members) == 3
    assert dice > 0.8


def test_the_same_seed_trains_the_same_members(squares):
    pictures, masks = (torch.stack([getattr(c, name) for c in squares[:2]]) for name in ("picture", "quick_mask"))
    first, second, other = (train_members(pictures, masks, steps=3, seed=seed) for seed in (1, 1, 2))
    found = [mean_probability(trained, pictures) for trained in (first, second, other)]
    torch.testing.assert_close(found[0], found[1])
    assert (found[0] - found[2]).abs().max() > 1e-3


def test_doubt_of_half_and_half_is_more_than_that_of_certainty():
    unsure, sure = torch.full((SIDE, SIDE), 0.5), torch.full((SIDE, SIDE), 0.01)
    scores = uncertainty_scores(torch.stack([unsure, sure]))
    assert scores[0] > 10 * scores[1] > 0


def test_a_map_comes_back_at_the_pictures_own_size():
    assert at_size(torch.rand(SIDE, SIDE), (40, 90)).shape == (40, 90)


@pytest.fixture
def chosen(monkeypatch) -> list[int]:
    """How many pictures each training was given; nothing is trained."""
    given: list[int] = []

    def train(pictures, masks, steps, seed):
        given.append(len(pictures))
        return [torch.nn.Conv2d(1, 1, 1).eval()]

    monkeypatch.setattr(campaign, "train_members", train)
    return given


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_campaign_has_a_row_for_each_number_of_labels(chosen, squares, strategy):
    rows = run_campaign(squares[:10], squares[10:], strategy, 3, (2, 5, 10), steps=3)
    assert [(row.strategy, row.seed, row.labels) for row in rows] == [(strategy, 3, n) for n in (2, 5, 10)]
    assert chosen == [2, 5, 10]
    assert all(0 <= row.dsc <= 1 for row in rows)


def test_the_first_images_are_those_that_the_text_doubts(monkeypatch, squares):
    given = []
    monkeypatch.setattr(
        campaign, "train_members", lambda pictures, *_: given.append(pictures) or [torch.nn.Conv2d(1, 1, 1).eval()]
    )
    run_campaign(squares[:10], squares[10:], "most_uncertain", 0, (2,), steps=3)
    torch.testing.assert_close(given[0], torch.stack([squares[9].picture, squares[8].picture]))


def test_no_image_is_both_labelled_and_scored(squares):
    pool, held_out = split(squares, 4, seed=1)
    assert len(held_out) == 4
    assert sorted(map(id, [*pool, *held_out])) == sorted(map(id, squares))
    assert list(map(id, held_out)) != list(map(id, split(squares, 4, seed=2)[1]))


def test_gains_are_over_random_seed_by_seed():
    table = {"random": [(0, 2, 0.5), (0, 4, 0.7), (1, 2, 0.4), (1, 4, 0.6)], "mixed": [(0, 2, 0.6), (0, 4, 0.8)]}
    table["mixed"] += [(1, 2, 0.3), (1, 4, 0.9)]
    rows = [Row(strategy, *row) for strategy, found in table.items() for row in found]
    summary = summarise(rows, zero_shot=0.3)
    assert summary["dsc"]["random"] == pytest.approx({2: 0.45, 4: 0.65})
    assert summary["gain_over_random"]["mixed"]["seeds"] == pytest.approx([0.1, 0.1])
    assert summary["gain_over_random"]["mixed"]["mean"] == pytest.approx(0.1)
    assert summary["zero_shot_dsc"] == 0.3


@pytest.mark.minutes
def test_the_script_writes_table_figures_and_plot(tmp_path, capsys):
    folder = draw_phantom_folder(tmp_path / "scans", "chest_xray", "heart", 8, set_number=6)
    script.main(
        images=folder / "images",
        masks=folder / "labels",
        text="heart",
        output=tmp_path / "out",
        points="2,4",
        seeds=2,
        held_out=3,
        steps=6,
        count=8,
        preset="demo",
    )
    with (tmp_path / "out" / "campaign.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * len(STRATEGIES)
    figures = json.loads((tmp_path / "out" / "campaign.json").read_text())
    assert figures["images"] == 8
    assert 0.3 < figures["zero_shot_dsc"] <= 1
    assert set(figures["gain_over_random"]) == {"most_uncertain", "mixed"}
    with Image.open(tmp_path / "out" / "campaign.png") as plot:
        assert min(plot.size) > 400
    assert "most_uncertain: DSC" in capsys.readouterr().out


@pytest.mark.parametrize("points", ["", "a,b", "0,4", "8,4", "4,4"])
def test_points_must_rise(points):
    with pytest.raises(script.InputError, match="rising positive numbers"):
        script.rising_numbers(points)


def test_a_picture_without_a_mask_is_named(tmp_path):
    folder = draw_phantom_folder(tmp_path, "chest_xray", "heart", 2, set_number=6)
    lost = sorted((folder / "labels").iterdir())[0]
    lost.unlink()
    with pytest.raises(campaign.InputError, match=f"has no mask of {lost.name} \\(1 of 2 images\\)"):
        campaign.read_cases(folder / "images", folder / "labels", "heart", None)
