"""What cannot be used: one clear line and a report, and the other series go on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from threshold_engine import ThresholdEngine

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.deploy import run as run_module
from medclipsam_monai.deploy.engines import Wish
from medclipsam_monai.deploy.run import RunSettings, run
from medclipsam_monai.phantoms.dicom import (
    write_phantom_ultrasound,
    write_phantom_volume,
    write_phantom_xray,
)


@pytest.fixture(autouse=True)
def known_engine(monkeypatch):
    monkeypatch.setattr(run_module, "load_engine", lambda *_: ThresholdEngine())


@pytest.fixture
def settings(tmp_path) -> RunSettings:
    return RunSettings(tmp_path / "study", tmp_path / "out", Wish(text=0.4))


def summary_of(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def double_position(files, change):
    change(files[0], ImagePositionPatient=dcmread(files[1]).ImagePositionPatient)


def mixed_orientation(files, change):
    change(files[0], ImageOrientationPatient=[1, 0, 0, 0, 0, -1])


def no_spacing(files, change):
    for file in files:
        change(file, PixelSpacing=None)


def no_position(files, change):
    change(files[0], ImagePositionPatient=None)


def mixed_size(files, change):
    pixels = dcmread(files[0]).pixel_array[:100]
    change(files[0], Rows=100, PixelData=pixels.tobytes())


def truncated(files, change):
    files[0].write_bytes(files[0].read_bytes()[:-20000])


def absurd_size(files, change):
    for file in files:
        change(file, Rows=65535, Columns=65535)


def no_instance_uid(files, change):
    change(files[0], SOPInstanceUID=None)


def colour_cine(files, change):
    pixels = np.zeros((4, *dcmread(files[0]).pixel_array.shape, 3), np.uint8)
    for file in files[1:]:
        file.unlink()
    elements = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "BitsStored": 8}
    change(files[0], NumberOfFrames=4, BitsAllocated=8, HighBit=7, PixelData=pixels.tobytes(), **elements)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (double_position, "slices lie where another one does"),
        (mixed_orientation, "slices lie at different angles"),
        (no_spacing, "state no ImageOrientationPatient or PixelSpacing"),
        (no_position, "1 of 4 slices state no ImagePositionPatient"),
        (mixed_size, "slices differ in size"),
        (truncated, "of 4: cannot be read as a DICOM image: cut short"),
        (absurd_size, "the header promises 17,"),
        (no_instance_uid, "state no SOPInstanceUID"),
        (colour_cine, "colour sequence of 4 frames"),
    ],
)
def test_a_series_that_cannot_be_used_is_reported_and_the_other_is_done(tmp_path, settings, change, damage, reason):
    damage(write_phantom_volume(tmp_path / "study", "CT", slices=4).files, change)
    write_phantom_volume(tmp_path / "study", "MR", slices=3)
    assert run(settings) == 3
    summary = summary_of(tmp_path / "out")
    states = {entry["series"][:2]: entry for entry in summary["series"]}
    assert summary["status"] == "finished" and states["mr"]["status"] == "done"
    assert states["ct"]["status"] == "failed" and reason in states["ct"]["reason"]
    assert str(tmp_path) not in states["ct"]["reason"]
    report = json.loads((tmp_path / "out" / states["ct"]["series"] / "report.json").read_text())
    assert report["status"] == "failed" and report["reason"] == states["ct"]["reason"]
    assert list((tmp_path / "out" / states["ct"]["series"]).iterdir()) == [
        tmp_path / "out" / states["ct"]["series"] / "report.json"
    ]


def test_missing_slices_are_said_and_the_others_segmented(tmp_path, settings):
    files = write_phantom_volume(tmp_path / "study", slices=7).files
    files[3].unlink()
    assert run(settings) == 0
    (path,) = (tmp_path / "out").glob("*/report.json")
    report = json.loads(path.read_text())
    assert report["status"] == "done" and report["files"] == 6
    assert "some may be missing" in report["warnings"][0] and str(tmp_path) not in report["warnings"][0]


def test_a_cine_without_positions_is_refused_for_what_dicom_cannot_hold(tmp_path, settings):
    write_phantom_ultrasound(tmp_path / "study", frames=3)
    assert run(settings) == 3
    (entry,) = summary_of(tmp_path / "out")["series"]
    assert "frames without positions" in entry["reason"]


def test_a_series_that_breaks_loses_its_old_result(tmp_path, settings, change):
    files = write_phantom_volume(tmp_path / "study", slices=4).files
    assert run(settings) == 0
    (folder,) = (path.parent for path in (tmp_path / "out").glob("*/report.json"))
    assert (folder / "segmentation.dcm").is_file()
    truncated(files, change)
    assert run(settings) == 3
    assert [path.name for path in folder.iterdir()] == ["report.json"]


def test_no_dicom_is_nothing_to_do(tmp_path, settings):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "notes.txt").write_text("none")
    with pytest.raises(InputError, match="holds no DICOM image to segment, only files of other kinds"):
        run(settings)
    summary = summary_of(tmp_path / "out")
    assert summary["status"] == "nothing done" and "holds no DICOM image" in summary["reason"]


def test_rules_that_choose_nothing_are_nothing_to_do(tmp_path, settings):
    write_phantom_xray(tmp_path / "study")
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps({"selections": [{"name": "PET", "conditions": {"Modality": "PT"}}]}))
    with pytest.raises(InputError, match="no rule chooses any of the 1 series"):
        run(RunSettings(settings.input, settings.output, settings.wish, rules=rules))
    assert summary_of(tmp_path / "out")["status"] == "nothing done"


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path, settings):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match=r"cannot write summary.json in .*out: "):
        run(settings)
    assert (tmp_path / "out").read_text() == "a file"


def test_an_unknown_window_is_refused_before_the_networks_are_loaded(tmp_path, settings, monkeypatch):
    monkeypatch.setattr(run_module, "load_engine", None)
    write_phantom_xray(tmp_path / "study")
    with pytest.raises(InputError, match='unknown window "lungs"'):
        run(RunSettings(settings.input, settings.output, Wish(window="lungs")))
