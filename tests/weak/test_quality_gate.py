"""The gate drops what its figures speak against, says why, and stops a run of which nothing is left."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from weak_files import entry, record

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.pseudo.labels import PseudoLabel
from medclipsam_monai.weak.pseudo.quality_gate import Gate, apply_gate

GATE = Gate(min_presence=0.5, min_quality=0.7, min_agreement=0.4, min_area=0.01, max_area=0.6)
EMPTY = {"fraction": 0.0, "quality": None, "agreement": None}


@pytest.mark.parametrize(
    ("entries", "reasons"),
    [
        ([entry()], ""),
        ([entry(presence=0.5, quality=0.7, agreement=0.4, fraction=0.01)], ""),
        ([entry(presence=0.49)], "lungs: presence 0.49 below 0.50"),
        ([entry(quality=0.6, agreement=0.1)], "lungs: quality 0.60 below 0.70; lungs: agreement 0.10 below 0.40"),
        ([entry(fraction=0.001)], "lungs: area 0.001 below 0.01"),
        ([entry(fraction=0.7)], "lungs: area 0.70 above 0.60"),
        ([entry(**EMPTY)], "nothing found"),
        ([entry(**EMPTY, presence=0.1)], "lungs: presence 0.10 below 0.50"),
        ([entry(), entry("heart", **EMPTY)], ""),
        ([entry(), entry("heart", **EMPTY, presence=0.1)], ""),
        ([entry(), entry("heart", agreement=0.2)], "heart: agreement 0.20 below 0.40"),
        ([entry(**EMPTY), entry("heart", **EMPTY)], "nothing found"),
    ],
)
def test_a_mask_is_kept_if_every_class_found_in_it_keeps_the_limits(entries, reasons):
    verdict = GATE.judge(record(*entries))
    assert "; ".join(map(str, verdict.reasons)) == reasons
    assert verdict.kept is (reasons == "")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"min_quality": 1.5}, r"min_quality must lie in \[0, 1\], got 1.5"),
        ({"min_presence": -0.1}, "min_presence must lie"),
        ({"min_agreement": "high"}, "min_agreement must lie .* got 'high'"),
        ({"min_area": 0.5, "max_area": 0.1}, "min_area 0.5 is above its max_area 0.1"),
    ],
)
def test_limits_that_are_none_are_refused(limits, message):
    with pytest.raises(InputError, match=message):
        Gate(**limits)


def test_a_record_of_a_version_without_the_figures_is_named():
    with pytest.raises(InputError, match=r"record of a\.png lacks 'agreement'; write it again with overwrite"):
        GATE.judge({"input": "a.png", "classes": [{"name": "lungs", "presence": None, "quality": 1.0}]})


@pytest.fixture
def folders(tmp_path):
    return WorkFolders(tmp_path)


def label(folders: WorkFolders, stem: str, *entries: dict) -> PseudoLabel:
    folders.pseudo_labels.mkdir(exist_ok=True)
    Image.fromarray(np.full((30, 50, 3), 200, np.uint8)).save(folders.pseudo_labels / f"{stem}_overlay.png")
    return PseudoLabel(stem, Path(f"{stem}.png"), folders.pseudo_labels / f"{stem}_mask.png", record(*entries))


def test_the_report_has_a_row_for_every_class_and_a_picture_of_what_was_dropped(folders):
    labels = [
        label(folders, "good", entry(presence=0.8)),
        label(folders, "bad", entry(agreement=0.1), entry("heart", **EMPTY)),
        label(folders, "mine", entry(agreement=0.1)),
    ]
    assert apply_gate(labels, GATE, folders, given={"mine"}) == [labels[0], labels[2]]
    with folders.gate_table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["class"], row["kept"], row["reason"]) for row in rows] == [
        ("good", "lungs", "yes", ""),
        ("bad", "lungs", "no", "lungs: agreement 0.10 below 0.40"),
        ("bad", "heart", "no", "lungs: agreement 0.10 below 0.40"),
        ("mine", "lungs", "yes", "given mask"),
    ]
    assert (rows[0]["presence"], rows[1]["presence"], rows[2]["area"]) == ("0.8", "", "0.0")
    for path, count in ((folders.kept_picture, 2), (folders.dropped_picture, 1)):
        sheet = np.asarray(Image.open(path))
        assert (sheet == 200).all(-1).sum() >= count * 30 * 50  # the overlays, pixel for pixel
    apply_gate(labels[:1], GATE, folders)
    assert not folders.dropped_picture.exists()


def test_a_sheet_shows_some_of_many_and_lacks_only_what_cannot_be_read(folders):
    labels = [label(folders, f"{n:03d}") for n in range(30)]
    (folders.pseudo_labels / "000_overlay.png").write_bytes(b"no picture")
    apply_gate(labels, GATE, folders)
    sheet = np.asarray(Image.open(folders.kept_picture))
    tiles = (sheet == 200).all(-1).sum() // (30 * 50)
    assert tiles in (23, 24)


def test_nothing_left_stops_the_run_and_says_what_was_wrong_most_often(folders):
    labels = [label(folders, f"{n}", entry(quality=0.2 + 0.1 * n, agreement=0.1 if n else 0.9)) for n in range(3)]
    labels.append(label(folders, "none", entry(**EMPTY)))
    with pytest.raises(InputError) as error:
        apply_gate(labels, GATE, folders)
    expected = "none of the 4 masks passes the quality gate: quality below 0.70 3x (0.20 to 0.40), agreement below 0.40"
    assert str(error.value).startswith(expected + " 2x (0.10), nothing found 1x; see ")
    assert folders.gate_table.is_file() and folders.dropped_picture.is_file() and not folders.kept_picture.exists()
