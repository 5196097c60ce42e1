"""What the scores of an evaluation say together, and what its folders must hold."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from random_training import make_training

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble
from medclipsam_monai.weak.nnunet import case_image
from medclipsam_monai.weak.pseudo.labels import PseudoLabel
from medclipsam_monai.weak.report import evaluation
from medclipsam_monai.weak.report.evaluation import (
    METHODS,
    EvaluationFolders,
    ImageResult,
    evaluate,
    summarise,
    write_results,
)
from medclipsam_monai.weak.report.examples import Example, draw_examples
from medclipsam_monai.weak.report.page import choose_examples


def result(case: str, ensemble: float, zero_shot: float, score: float) -> ImageResult:
    dsc = dict(zip(METHODS, (zero_shot, 0.5, ensemble), strict=True))
    path = Path(f"{case}.png")
    return ImageResult(case, path, path, path, dsc, dict.fromkeys(METHODS, 0.5), score, 0.1)


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
    found = summarise(RESULTS)
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


@pytest.fixture
def reads(monkeypatch):
    """The images that are read for the ensemble, in their order."""
    real, found = case_image.read_image, []
    monkeypatch.setattr(
        case_image, "read_image", lambda source, axis: found.append(Path(source).stem) or real(source, axis)
    )
    return found


@pytest.fixture
def test_images(tmp_path):
    """Two pictures with labels, and as zero-shot masks the same labels."""
    random = np.random.default_rng(0)
    labels = []
    for stem in ("one", "two"):
        for folder, pixels in (("images", random.integers(0, 256, (48, 40))), ("labels", np.eye(48, 40) * 255)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / folder / f"{stem}.png")
        labels.append(PseudoLabel(stem, tmp_path / "images" / f"{stem}.png", tmp_path / "labels" / f"{stem}.png", {}))
    return tmp_path, labels


def test_each_image_is_read_once_for_all_methods_and_once_for_the_report(test_images, tmp_path, monkeypatch, reads):
    folder, labels = test_images
    monkeypatch.setattr(evaluation, "write_pseudo_labels", lambda *given, **reading: labels)
    ensemble = CheckpointEnsemble.from_training(make_training(tmp_path / "work"), "cpu")
    results = evaluate(None, ensemble, folder, "lungs", tmp_path / "out")
    assert reads == ["one", "two"]
    assert [result.dsc["zero_shot"] for result in results] == [1.0, 1.0]
    for result in results:  # the scores are those of predictions that read the file themselves
        assert result.score == ensemble.predict(result.image, **ensemble.reading).score()
    with EvaluationFolders(tmp_path / "out").table.open() as file:
        assert [row["case"] for row in csv.DictReader(file)] == ["one", "two"]

    reads.clear()
    draw_examples(ensemble, [Example("one", labels[0].source, labels[0].mask)], tmp_path / "out" / "cases.png")
    assert reads == ["one"]
