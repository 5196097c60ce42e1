"""What a study's report says of rows that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medclipsam_monai.study.report import report, strip, telling_rows
from medclipsam_monai.study.runner import Row
from medclipsam_monai.study.summary import choose_conditions, means, over_tasks, robustness


def row(image: str, text: str, dsc: float, present: bool = True, presence: float = 0.0, prompt: str = "box") -> Row:
    return Row("lung_ct", image, "m2ib", "otsu", prompt, text, present, dsc, dsc / 2, dsc / 4, 1.0, presence, 2.0)


def test_means_are_over_images_with_the_target_and_the_auc_over_all():
    rows = [row("a", "P0", 0.8, presence=0.3), row("b", "P0", 0.6, presence=0.1), row("c", "P0", 0.0, False, 0.2)]
    (line,) = means(rows)
    assert (line.images, line.dsc, line.nsd, line.iou) == (
        2,
        pytest.approx(0.7),
        pytest.approx(0.35),
        pytest.approx(0.175),
    )
    assert line.dsc_deviation == pytest.approx(np.std([0.8, 0.6], ddof=1))
    assert line.presence_auc == pytest.approx(0.5), "0.3 lies above the absent image's, 0.1 below"


def test_without_absent_images_or_opposites_there_is_no_auc():
    assert means([row("a", "P0", 0.8)])[0].presence_auc is None
    nan = float("nan")
    assert means([row("a", "P0", 0.8, presence=nan), row("b", "P0", 0, False, nan)])[0].presence_auc is None
    assert means([row("b", "P0", 0.0, False)]) == []


def test_robustness_is_the_spread_over_members():
    rows = [
        row(image, f"wording {n}", dsc)
        for n, pair in ((1, (0.9, 0.7)), (2, (0.5, 0.7)))
        for image, dsc in zip("ab", pair, strict=True)
    ]
    rows += [row("a", f"maps of 5, draw {n}", 0.9) for n in (1, 2)] + [row("a", "P0", 0.1)]
    words, maps = robustness(rows)
    assert (words.condition.text, words.members) == ("wording", 2)
    assert (words.dsc, words.spread, words.worst) == pytest.approx((0.7, 0.1, 0.6))
    assert words.image_spread == pytest.approx((0.2 + 0.0) / 2)
    assert (maps.condition.text, maps.spread) == ("maps of 5", 0.0)


def test_the_report_shows_wordings_in_a_table_of_their_own():
    text = report([row("a", "P0", 0.8), row("a", "wording 1", 0.5), row("a", "wording 2", 0.7)])
    first, second = text.split("## Ten wordings")
    assert "| lung_ct | m2ib | otsu | box | P0 | 1 | 0.800 | 0.000 | 0.100 |" in first, "the spread over wordings"
    assert "| wording" not in first
    assert "| lung_ct | m2ib | otsu | box | wording | 2 | 0.600 | 0.100 |" in second


def test_best_median_and_worst_are_of_the_best_condition():
    rows = [row(image, "P0", dsc) for image, dsc in zip("abcde", (0.3, 0.9, 0.5, 0.7, 0.1), strict=True)]
    rows += [row(image, "P0", 0.2, prompt="none") for image in "abcde"]
    assert [(r.image, r.prompt) for r in telling_rows(rows)["lung_ct"]] == [("b", "box"), ("c", "box"), ("e", "box")]


def test_a_strip_has_the_truth_above_the_result():
    truth, found = np.zeros((256, 256), bool), np.zeros((256, 256), bool)
    truth[:, :100], found[:, 150:] = True, True
    picture = strip([row("a", "P0", 0.8)], lambda r: (np.zeros((3, 256, 256)), truth, found))
    assert picture.shape == (512, 264, 3)
    assert picture[100, 50].any() and not picture[100, 200].any()
    assert picture[400, 200].any() and not picture[400, 50].any()


def test_other_images_choose_one_way_and_never_a_text_that_names_the_finding():
    there = [row("x", "P0", 0.5), row("x", "P1", 0.7), row("x", "P3", 0.9), row("x", "P2", 0.8)]
    here = [row("a", "P0", 0.9), row("a", "P1", 0.4), row("a", "P3", 0.9)]
    here += [row("a", f"wording {n}", dsc) for n, dsc in ((1, 0.2), (2, 0.4))]
    (chosen,) = choose_conditions(there, here)
    assert (chosen.result.condition.text, chosen.chosen_by.dsc, chosen.result.dsc) == ("P1", 0.7, 0.4)
    assert chosen.wordings is not None and chosen.wordings.spread == pytest.approx(0.1)
    assert "| lung_ct | m2ib | otsu | box | P1 | 0.700 | 1 | 0.400 |" in report(here, there)


def test_over_tasks_weighs_each_task_the_same_and_drops_what_one_lacks():
    other = [replace(r, task="brain_mri") for r in (row("b", "P0", 0.2), row("c", "P0", 0.4), row("b", "P1", 1.0))]
    (line,) = over_tasks(means([row("a", "P0", 0.8), *other]))
    assert (line.condition.task, line.condition.text, line.tasks) == ("all", "P0", 2)
    assert line.dsc == pytest.approx((0.8 + 0.3) / 2)
