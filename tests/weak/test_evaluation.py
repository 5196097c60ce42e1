"""What the scores of an evaluation say together, and what its folders must hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.weak.report.evaluation import (
    METHODS,
    CaseResult,
    EvaluationFolders,
    evaluate,
    summary,
    write_results,
)
from medclipsam_monai.weak.report.page import choose_examples


def result(case: str, ensemble: float, zero_shot: float, score: float) -> CaseResult:
    dsc = dict(zip(METHODS, (zero_shot, 0.5, ensemble), strict=True))
    path = Path(f"{case}.png")
    return CaseResult(case, path, path, path, dsc, dict.fromkeys(METHODS, 0.5), score, 0.1)


RESULTS = [
    result("best", 0.95, 0.90, 100),
    result("good", 0.90, 0.85, 200),
    result("mended", 0.80, 0.10, 300),
    result("half mended", 0.70, 0.30, 400),
    result("bad", 0.40, 0.40, 500),
    result("worst", 0.20, 0.60, 600),
    result("nothing to see", 0.60, 0.58, 450),
]


def test_the_summary_tells_means_and_what_the_score_is_worth():
    found = summary(RESULTS)
    assert found["images"] == 7
    assert found["methods"]["ensemble"]["dsc"]["mean"] == pytest.approx(4.55 / 7)
    assert found["methods"]["zero_shot"]["dsc"]["mean"] == pytest.approx(3.73 / 7)
    assert found["score_against_dsc"]["spearman"] == pytest.approx(-1)
    assert found["error_retention"]["rejection_ratio"] == pytest.approx(1)


def test_one_image_alone_has_no_correlation_and_is_written_all_the_same(tmp_path):
    folders = EvaluationFolders(tmp_path)
    write_results(RESULTS[:1], folders)
    found = json.loads(folders.summary.read_text())
    assert found["score_against_dsc"] == {"pearson": None, "spearman": None}
    assert found["error_retention"]["rejection_ratio"] is None
    assert folders.table.read_text().count("\n") == 2


def test_examples_are_the_best_those_mended_most_and_the_worst_each_once():
    shown = [example.title.split("\n")[0] for example in choose_examples(RESULTS)]
    assert shown == ["best", "good", "mended", "half mended", "bad", "worst"]
    assert len(choose_examples(RESULTS[:1])) == 1


def test_a_test_folder_without_labels_or_with_a_label_missing_is_one_line(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.b", "c"):
        (tmp_path / "images" / f"{name}.png").write_bytes(b"")
    with pytest.raises(InputError, match="must hold the folders images and labels"):
        evaluate(None, None, tmp_path, "lungs", tmp_path / "out")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.b.png").write_bytes(b"")
    with pytest.raises(InputError, match="1 of 2 images have no label, the first is c"):
        evaluate(None, None, tmp_path, "lungs", tmp_path / "out")
