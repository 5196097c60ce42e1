"""Pictures of uncertainty are drawn, of whatever there is."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from medclipsam_monai.weak.ensemble.uncertainty import retention_curve
from medclipsam_monai.weak.report.uncertainty_curves import plot_retention, plot_scores

ERROR = [0.4, 0.1, 0.3, 0.2, 0.6]


def colours(path):
    """How many colours a picture has: an empty one has few."""
    picture = np.asarray(Image.open(path).convert("RGB"))
    return len(np.unique(picture.reshape(-1, 3), axis=0))


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
