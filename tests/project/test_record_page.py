"""docs/reference/record.md: every key of a real record and every file of a run is on it, and no others are."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import make_nifti

from medclipsam_monai.phantoms.samples import sample_pictures
from medclipsam_monai.presets.settings import Settings
from medclipsam_monai.zero_shot.output_files import OutputFiles

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "record.md").read_text(encoding="utf-8")
NOT_HERE = {"size_reason", "grid", "examples"}
"""Keys that neither of the two records has."""
pytestmark = pytest.mark.slow


def keys_of(section: str) -> set[str]:
    """What stands between backticks in the first cells of a section's table."""
    text = PAGE.split(f"# {section}\n")[1].split("\n#")[0]
    cells = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
    return {key for cell in cells for key in re.findall(r"`([a-z_0-9]+)`", cell)}


@pytest.fixture
def records(run, tmp_path) -> list[dict[str, Any]]:
    """Of a picture that the default preset segments, and of a volume."""
    shutil.copy(sample_pictures()["xray_normal"], tmp_path / "chest.png")
    make_nifti(tmp_path / "ct.nii.gz", (40, 30, 3))
    written = ["--save-saliency", "--save-probability", "--output", tmp_path / "out"]
    assert run(tmp_path / "chest.png", "--text", "lungs", *written, preset="small")[0] == 0
    assert run(tmp_path / "ct.nii.gz", "--text", "lungs", *written)[0] == 0
    return [json.loads((tmp_path / "out" / f"{stem}.json").read_text()) for stem in ("chest", "ct")]


def test_every_key_of_a_record_is_explained(records):
    found = {key for record in records for key in record}
    in_classes = {key for record in records for entry in record["classes"] for key in entry}
    of_parameters = {key for record in records for key in record["parameters"]}
    assert keys_of("The record") - NOT_HERE == found
    assert keys_of("classes") - NOT_HERE == in_classes
    settings = set(Settings().values) - {"examples"}
    assert keys_of("parameters") - NOT_HERE == of_parameters - settings
    said = PAGE.split("### parameters\n")[1]
    assert settings <= of_parameters and all(f"`{name}`" in said for name in settings)


def test_the_keys_inside_of_an_entry_are_explained(records):
    inside = [
        ("nearest_picture", records[0]["nearest_picture"]),
        ("nearest_known", records[0]["classes"][0]["nearest_known"]),
        ("slices", records[1]["classes"][0]["slices"]),
        ("weights", records[0]["weights"]),
    ]
    for key, value in inside:
        (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{key}` |")]
        assert value and {f"`{name}`" for name in value} <= set(re.findall(r"`[a-z_]+`", line)), key


def test_every_file_of_a_run_is_explained(records):
    text = PAGE.split("## Files\n")[1].split("\n#")[0]
    said = re.findall(r"`chest_(\w+)\.", text)
    written = {name.partition("_")[2].partition(".")[0] for record in records for name in record["outputs"]}
    more = OutputFiles(dicom_seg=True).names("chest", "dicom", 1)
    assert written | {name.partition("_")[2].partition(".")[0] for name in more} <= set(said)
