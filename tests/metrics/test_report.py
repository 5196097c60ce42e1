"""The report's rows, statistics and files."""

from __future__ import annotations

import csv
import json
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.metrics import SegmentationReport, SegmentationScores, describe


def scores(*dsc: float) -> SegmentationScores:
    """Scores of len(dsc) classes that tell the metrics apart."""
    return SegmentationScores(
        dsc=dsc,
        nsd=tuple(d / 2 for d in dsc),
        iou=tuple(d / 4 for d in dsc),
        pred_area=tuple(10.0 for _ in dsc),
        truth_area=tuple(20.0 for _ in dsc),
    )


@pytest.fixture
def report() -> SegmentationReport:
    report = SegmentationReport()
    report.add('scan, "one".png', ["lung", "härt"], scores(0.8, 0.4))
    report.add("two.png", ["lung"], scores(0.20000000298))
    return report


def test_the_csv_has_a_line_for_each_image_and_class(report, tmp_path):
    path = report.write_csv(tmp_path / "deep" / "scores.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["image", "class", "dsc", "nsd", "iou", "pred_area", "truth_area"],
        ['scan, "one".png', "lung", "0.8", "0.4", "0.2", "10.0", "20.0"],
        ['scan, "one".png', "härt", "0.4", "0.2", "0.1", "10.0", "20.0"],
        ["two.png", "lung", "0.2", "0.1", "0.05", "10.0", "20.0"],
    ]


def test_the_summary_counts_images_for_each_class_and_overall(report):
    summary = report.summary()
    assert summary.classes["lung"]["dsc"].number == 2
    assert summary.classes["lung"]["dsc"].mean == pytest.approx(0.5)
    assert summary.classes["härt"]["iou"].mean == pytest.approx(0.1)
    # each image first, then the mean of the images: ((0.8 + 0.4) / 2 + 0.2) / 2
    assert summary.overall["dsc"].number == 2
    assert summary.overall["dsc"].mean == pytest.approx(0.4)
    assert summary.overall["nsd"].mean == pytest.approx(0.2)


def test_the_summary_file_says_what_the_summary_says(report, tmp_path):
    content = json.loads(report.write_summary(tmp_path / "summary.json", resamples=50, seed=3).read_text("utf-8"))
    summary = report.summary(resamples=50, seed=3)
    assert content["classes"]["lung"]["dsc"]["ci_low"] == summary.classes["lung"]["dsc"].ci_low
    assert content["classes"]["härt"]["dsc"]["std"] is None
    assert content["overall"]["dsc"]["mean"] == summary.overall["dsc"].mean
    assert (content["confidence"], content["resamples"], content["seed"]) == (0.95, 50, 3)


def test_statistics_by_hand():
    found = describe([0.0, 0.2, 0.4, 1.0])
    assert (found.number, found.mean, found.median) == pytest.approx((4, 0.4, 0.3))
    assert found.std == pytest.approx(statistics.stdev([0.0, 0.2, 0.4, 1.0]))
    assert (found.q1, found.q3) == pytest.approx((0.15, 0.55))


def test_one_value_has_no_spread():
    found = describe([0.7])
    assert (found.number, found.mean, found.q1, found.q3) == (1, 0.7, 0.7, 0.7)
    assert (found.std, found.ci_low, found.ci_high) == (None, None, None)


def test_the_interval_is_that_of_the_normal_law_for_many_values():
    values = np.random.default_rng(1).normal(0.6, 0.1, 400)
    found = describe(values.tolist())
    half = 1.96 * found.std / np.sqrt(found.number)
    assert found.ci_low == pytest.approx(found.mean - half, abs=0.1 * half)
    assert found.ci_high == pytest.approx(found.mean + half, abs=0.1 * half)


def test_the_interval_follows_the_seed():
    values = [0.1, 0.5, 0.6, 0.95]
    assert describe(values, seed=1) == describe(values, seed=1)
    assert describe(values, 99, seed=1) != describe(values, 99, seed=2)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_statistics_are_in_order(values):
    found, slack = describe(values, resamples=50), 1e-9
    assert min(values) - slack <= found.ci_low <= found.ci_high <= max(values) + slack
    assert min(values) <= found.q1 <= found.median <= found.q3 <= max(values)


@pytest.mark.parametrize("values", [[], [0.5, float("nan")]])
def test_values_that_cannot_be_described(values):
    with pytest.raises(ValueError, match="values must be a list of finite numbers"):
        describe(values)


def test_resamples_must_be_positive():
    with pytest.raises(ValueError, match="resamples must be positive, got 0"):
        describe([0.1, 0.2], resamples=0)


@pytest.mark.parametrize(("image", "classes"), [("two.png", ["lung"]), ("three.png", ["rib", "rib"])])
def test_a_class_of_an_image_counts_once(report, image, classes):
    before = report.rows
    with pytest.raises(InputError, match="was scored twice"):
        report.add(image, classes, scores(*[0.5] * len(classes)))
    assert report.rows == before


def test_names_and_scores_must_be_as_many(report):
    with pytest.raises(ValueError, match="each class needs one name, got 2 names for scores of 1"):
        report.add("three.png", ["lung", "rib"], scores(0.5))


def test_an_empty_report_has_no_summary(tmp_path):
    with pytest.raises(InputError, match="no image was scored"):
        SegmentationReport().write_summary(tmp_path / "summary.json")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_whole_or_left_as_it_was(report, tmp_path, monkeypatch):
    path = tmp_path / "scores.csv"
    path.write_text("old")

    def full(*_args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        with pytest.raises(InputError, match=r"cannot write scores.csv in .*: No space left on device"):
            report.write_csv(path)
    assert path.read_text() == "old"
    report.write_csv(path)
    assert path.read_text("utf-8").startswith("image,class")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_one_line(report, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match=r"cannot write a.csv in .*taken"):
        report.write_csv(tmp_path / "taken" / "a.csv")
