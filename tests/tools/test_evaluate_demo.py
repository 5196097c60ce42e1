"""What tools.figures.evaluate_demo says of scores that are known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tools.figures import evaluate_demo as script


@pytest.fixture
def table():
    """Two targets of one task, found well and badly; each is there in two of four pictures."""
    good = script.Scores(
        [0.9, 0.7], [0.6, 0.6], [0.95, 0.93], [1.0, 1.0], [0.0, 0.0], [2, 1, 0, -1], [True, True, False, False]
    )
    bad = script.Scores(
        [0.2, 0.4], [0.1, 0.1], [0.5, 0.7], [0.0, 1.0], [1.0, 0.0], [2, 1, 0, -1], [True, False, True, False]
    )
    return {("chest_xray", "lungs"): good, ("chest_xray", "lung mass"): bad}


def test_floors_are_over_the_targets_kept_only(table):
    found = script.floors(table, [("chest_xray", "lungs")])
    assert found["targets"] == found["modalities"] == 1
    assert found["DSC by text, mean"] == found["DSC by text, lowest"] == pytest.approx(0.8)
    assert found["presence AUC, mean"] == pytest.approx(1.0)
    assert found["SAM, boxes with 10 % jitter, DSC"] == pytest.approx(0.94)
    both = script.floors(table, list(table))
    assert both["DSC by text, mean"] == pytest.approx(0.55)
    assert both["DSC by text, lowest"] == pytest.approx(0.3)
    assert both["two targets: peak in the named one"] == pytest.approx(0.75)


def test_a_target_that_is_not_kept_is_still_shown_and_marked(table):
    rows = list(script.table_lines(table, [("chest_xray", "lungs")]))
    assert rows[2].startswith("| chest_xray | lungs | lungs | 2 | 0.80 |")
    assert rows[3].startswith("| chest_xray | lung mass (not kept) | lung mass | 2 | 0.30 |")


def test_several_training_seeds_get_a_column_with_their_spread(table):
    shipped = script.floors(table, list(table))
    other = {**shipped, "DSC by text, mean": shipped["DSC by text, mean"] + 0.1}
    alone = list(script.floor_lines(shipped, []))
    assert "| DSC by text, mean | 0.70 | 0.550 |" in alone
    beside = list(script.floor_lines(shipped, [other]))
    assert "| DSC by text, mean | 0.70 | 0.550 | 0.600 ± 0.071 |" in beside


def test_the_card_keeps_what_stands_around_its_figures(tmp_path):
    card = tmp_path / "card.md"
    card.write_text("before\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nafter\n", encoding="utf-8")
    script.write_card(["new"], card)
    assert card.read_text(encoding="utf-8") == ("before\n<!-- figures: begin -->\nnew\n<!-- figures: end -->\nafter\n")


def test_a_target_is_kept_if_it_reaches_the_floors_beyond_chance():
    there, known = [True] * 4 + [False] * 4, [4, 3, 2, 1, 0, -1, -2, -3]
    good = script.Scores(dice=[0.7, 0.6, 0.7, 0.6], presence=known, present=there)
    assert script.is_kept(good)
    assert not script.is_kept(replace(good, dice=[0.9, 0.3, 0.9, 0.3])), "0.6, by chance"
    assert not script.is_kept(replace(good, dice=[0.9])), "one picture says nothing"
    assert not script.is_kept(replace(good, presence=known[::-1]))
