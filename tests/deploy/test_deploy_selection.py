"""Rules that choose series."""

from __future__ import annotations

import json

import pytest
from pydicom.dataset import Dataset

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.deploy.series_selection import matches, read_rules, select


@pytest.fixture
def header() -> Dataset:
    dataset = Dataset()
    dataset.Modality, dataset.SeriesDescription, dataset.ImageType = "CT", "Chest 2.0 B30f", ["ORIGINAL", "PRIMARY"]
    dataset.SliceThickness, dataset.SeriesNumber, dataset.PatientPosition = "2.5", "4", ""
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    return dataset


@pytest.mark.parametrize(
    ("keyword", "wanted", "expected"),
    [
        ("Modality", "ct", True),
        ("Modality", "MR", False),
        ("Modality", "^(CT|MR)$", True),
        ("SeriesDescription", "chest", True),
        ("SeriesDescription", "(?i)^b30", False),
        ("ImageType", ["PRIMARY"], True),
        ("ImageType", ["PRIMARY", "original"], True),
        ("ImageType", ["PRIMARY", "!ORIGINAL"], False),
        ("ImageType", ["!LOCALIZER"], True),
        ("ImageType", "ORIG", True),
        ("SliceThickness", 2.5, True),
        ("SliceThickness", 2, False),
        ("SliceThickness", [2, 3], True),
        ("SliceThickness", [3, 5], False),
        ("SliceThickness", [2.5, ">"], False),
        ("SliceThickness", [2.5, ">="], True),
        ("SliceThickness", [5, "<"], True),
        ("SliceThickness", [2.5, "!="], False),
        ("SliceThickness", r"2\.\d", True),
        ("SeriesNumber", ["4", "5"], True),
        ("SeriesNumber", [4, 5, 6], True),
        ("SeriesNumber", [5, 6, 7], False),
        ("ImageOrientationPatient", "Coronal", True),
        ("ImageOrientationPatient", "axial", False),
        ("PatientPosition", ".*", False),
        ("BodyPartExamined", ".*", False),
    ],
)
def test_a_condition(header, keyword, wanted, expected):
    assert matches(header, keyword, wanted) is expected


@pytest.fixture
def rules(tmp_path):
    def write(content: object) -> tuple:
        path = tmp_path / "rules.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return read_rules(path)

    return write


def test_the_first_rule_whose_conditions_all_hold_chooses_the_series(header, rules):
    found = rules(
        {
            "selections": [
                {"name": "thin CT", "conditions": {"Modality": "CT", "SliceThickness": [1, "<"]}},
                {"name": "CT", "conditions": {"Modality": "CT"}, "text": {"lungs": "both lungs"}, "window": "lung"},
                {"conditions": {}},
            ]
        }
    )
    chosen = select(header, found)
    assert (chosen.name, chosen.text, chosen.window) == ("CT", {"lungs": "both lungs"}, "lung")
    assert select(Dataset(), found).name == "3" and select(Dataset(), found[:2]) is None


def rule(**keys: object) -> dict:
    return {"selections": [keys]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a readable JSON file"),
        ("[]", "must hold a JSON object, got a list"),
        ({}, r'must hold {"selections": \[...\]}'),
        ({"selections": []}, "with at least one rule"),
        ({"selections": ["CT"]}, "rule 1 .* must be an object"),
        (rule(conditions=["CT"]), "must be an object"),
        (rule(condition={}), "unknown key 'condition'; expected conditions, name"),
        (rule(conditions={"Modalty": "CT"}), "'Modalty' is no DICOM keyword"),
        (rule(conditions={"Modality": True}), "Modality must be a text, a number or a list"),
        (rule(conditions={"Modality": []}), "Modality must be a text"),
        (rule(conditions={"Modality": "("}), "not a regular expression"),
        (rule(conditions={"ImageOrientationPatient": "up"}), "must be Axial, Coronal or Sagittal, got 'up'"),
        (rule(conditions={}, window="lungs"), 'unknown window "lungs"'),
    ],
)
def test_a_wrong_rule_is_one_line(rules, content, message):
    with pytest.raises(InputError, match=message):
        rules(content)


def test_a_missing_rules_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none.json is not a readable JSON file"):
        read_rules(tmp_path / "none.json")
