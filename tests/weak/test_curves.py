"""Pictures of uncertainty are drawn, of whatever there is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from medclipsam_monai.weak.curves import plot_maps, plot_retention, plot_scores
from medclipsam_monai.weak.prediction import EnsemblePrediction
from medclipsam_monai.weak.uncertainty import entropy, retention_curve

ERROR = [0.4, 0.1, 0.3, 0.2, 0.6]


def colours(path):
    """How many colours a picture has: an empty one has few."""
    picture = np.asarray(Image.open(path).convert("RGB"))
    return len(np.unique(picture.reshape(-1, 3), axis=0))


def make_prediction(*sides, foreground=None):
    inside = torch.rand(sides, generator=torch.Generator().manual_seed(0)) if foreground is None else foreground
    probability = torch.stack([1 - inside, inside])
    total = entropy(probability)
    return EnsemblePrediction(probability, total, total / 2, ("background", "lungs"), ("a.pth",))


def test_scores_are_drawn_against_the_dsc(tmp_path):
    dsc = [1 - error for error in ERROR]
    one = plot_scores({"score": ERROR}, dsc, tmp_path / "one.png")
    two = plot_scores({"score": ERROR, "mutual information": [1, 1, 1, 1, 1]}, dsc, tmp_path / "new" / "two.png")
    assert colours(one) > 20
    assert Image.open(two).width > Image.open(one).width


def test_retention_curves_are_drawn_together(tmp_path):
    curves = {"score": retention_curve(ERROR, ERROR), "other": retention_curve(ERROR, [1, 2, 3, 4, 5])}
    assert colours(plot_retention(curves, tmp_path / "retention.png")) > 20


def test_retention_curves_over_other_errors_are_refused(tmp_path):
    curves = {"one": retention_curve([0.1, 0.2], [1, 2]), "other": retention_curve([0.3, 0.2], [1, 2])}
    with pytest.raises(ValueError, match="same errors"):
        plot_retention(curves, tmp_path / "retention.png")
    with pytest.raises(ValueError, match="same errors"):
        plot_retention({**curves, "other": retention_curve(ERROR, ERROR)}, tmp_path / "retention.png")


@pytest.mark.parametrize("draw", [lambda path: plot_scores({}, [], path), lambda path: plot_retention({}, path)])
def test_nothing_to_draw_is_refused(draw, tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        draw(tmp_path / "nothing.png")


@pytest.mark.parametrize("sides", [(20, 30), (20, 30, 4)])
def test_maps_are_drawn_of_pictures_and_volumes(sides, tmp_path):
    path = plot_maps(torch.rand(1, *sides), make_prediction(*sides), tmp_path / "maps.png")
    assert colours(path) > 200


def test_maps_without_the_members_are_drawn(tmp_path):
    whole = make_prediction(20, 30)
    short = replace(whole, mutual_information=None)
    paths = [plot_maps(torch.rand(1, 20, 30), one, tmp_path / f"{one is whole}.png") for one in (whole, short)]
    wide, narrow = (Image.open(path).width for path in paths)
    assert narrow < wide


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_maps_of_an_empty_and_of_a_full_mask_are_drawn(value, tmp_path):
    prediction = make_prediction(20, 30, foreground=torch.full((20, 30), value))
    assert plot_maps(torch.rand(3, 20, 30), prediction, tmp_path / "maps.png").is_file()


def test_maps_of_another_image_are_refused(tmp_path):
    with pytest.raises(ValueError, match="image must be"):
        plot_maps(torch.rand(3, 10, 30), make_prediction(20, 30), tmp_path / "maps.png")
