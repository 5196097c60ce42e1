"""The App SDK application in this process, with an engine whose answer is known."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import highdicom
import numpy as np
import pytest
from dicom_checks import dciodvfy_errors, needs_dciodvfy
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import RLELossless
from threshold_engine import ThresholdEngine

from medclipsam_monai.deploy import run as run_module
from medclipsam_monai.deploy.engines import Wish
from medclipsam_monai.deploy.run import RunSettings, run
from medclipsam_monai.phantoms.dicom import (
    OBLIQUE,
    write_phantom_ultrasound,
    write_phantom_volume,
    write_phantom_xray,
)

LEVEL = 0.4
SEG = "segmentation.dcm"


@pytest.fixture(autouse=True)
def known_engine(monkeypatch):
    monkeypatch.setattr(run_module, "load_engine", lambda *_: ThresholdEngine())


@pytest.fixture
def start(tmp_path):
    """Run on tmp_path/study: (exit code, report by modality, its folder by modality)."""

    def call(level: float = LEVEL, **settings: object):
        wish = Wish(text=level, pictures=settings.pop("pictures", 3))
        code = run(RunSettings(tmp_path / "study", tmp_path / "out", wish, **settings))
        folders = {path.parent for path in tmp_path.glob("out/*/report.json")}
        reports = {folder: json.loads((folder / "report.json").read_text()) for folder in folders}
        return (
            code,
            {report["modality"]: report for report in reports.values()},
            {report["modality"]: folder for folder, report in reports.items()},
        )

    return call


def segment_by_file(path: Path, files: tuple[Path, ...]) -> np.ndarray:
    """(F, rows, columns) of the one segment, by the source instances that the SEG names; empty frames are left out."""
    seg = highdicom.seg.segread(path)
    uids = [dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in files]
    return seg.get_pixels_by_source_instance(uids, ignore_spatial_locations=True, assert_missing_frames_are_empty=True)[
        ..., 0
    ]


def shown(file: Path) -> np.ndarray:
    """A grey file's display values by the standard's linear window (PS3.3 C.11.2.1.2), worked out here."""
    dataset = dcmread(file)
    values = dataset.pixel_array * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
    centre, width = float(dataset.WindowCenter), float(dataset.WindowWidth)
    display = np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    return 1 - display if dataset.PhotometricInterpretation == "MONOCHROME1" else display


def test_every_kind_of_series_gets_its_mask_on_its_own_frames(tmp_path, start):
    series = {
        "CT": write_phantom_volume(tmp_path / "study", "CT", slices=5, order="shuffled", spacing=(1.0, 1.5, 4.0)),
        "MR": write_phantom_volume(tmp_path / "study", "MR", slices=4, order="reversed", directions=OBLIQUE),
        "CR": write_phantom_xray(tmp_path / "study", photometric="MONOCHROME1"),
    }
    code, reports, folders = start()
    assert code == 0 and set(reports) == set(series)
    for modality, files in ((name, one.files) for name, one in series.items()):
        expected = np.stack([shown(file) > LEVEL for file in files])
        assert expected.any() and not expected.all()
        np.testing.assert_array_equal(segment_by_file(folders[modality] / SEG, files), expected)
        (entry,) = reports[modality]["classes"]
        assert entry["pixels"] == expected.sum() and reports[modality]["status"] == "done"
        assert not reports[modality]["empty"]
    (entry,) = reports["CT"]["classes"]
    assert entry["volume_ml"] == pytest.approx(entry["pixels"] * 1.0 * 1.5 * 4.0 / 1000)
    assert reports["CR"]["classes"][0]["volume_ml"] is None and reports["CR"]["classes"][0]["unit"] == "pixels"


def test_pictures_show_the_frames_they_refer_to(tmp_path, start):
    files = write_phantom_volume(tmp_path / "study", slices=6, order="shuffled").files
    _, reports, folders = start()
    assert [name for name in reports["CT"]["outputs"] if name.startswith("overlay")] == [
        "overlay_001.dcm",
        "overlay_002.dcm",
        "overlay_003.dcm",
    ]
    by_uid = {dcmread(file).SOPInstanceUID: file for file in files}
    for path in folders["CT"].glob("overlay_*.dcm"):
        capture = dcmread(path)
        (reference,) = capture.SourceImageSequence
        grey = shown(by_uid[reference.ReferencedSOPInstanceUID])
        outside = grey <= LEVEL
        np.testing.assert_allclose(capture.pixel_array[outside][:, 0], grey[outside] * 255, atol=1)
        assert "lungs orange" in capture.SeriesDescription


@needs_dciodvfy
def test_what_is_written_is_valid_dicom(tmp_path, start):
    write_phantom_volume(tmp_path / "study", "MR", slices=3, directions=OBLIQUE)
    write_phantom_ultrasound(tmp_path / "study")
    start()
    written = sorted((tmp_path / "out").glob("*/*.dcm"))
    assert len(written) == 2 + 3 + 1
    assert [line for path in written for line in dciodvfy_errors(path)] == []


def test_colour_with_burned_in_text_is_done_and_said(tmp_path, start):
    write_phantom_ultrasound(tmp_path / "study")
    code, reports, folders = start()
    assert code == 0 and "text is burned into the image" in reports["US"]["warnings"][0]
    assert dcmread(folders["US"] / "overlay_001.dcm").BurnedInAnnotation == "YES"


def test_what_a_record_warns_of_is_in_the_report_and_in_the_log(tmp_path, start, monkeypatch, caplog):
    write_phantom_ultrasound(tmp_path / "study")
    find = ThresholdEngine.find

    def warned(self, source, request):
        found = find(self, source, request)
        found.record["warnings"] = ["the picture is like none"]
        return found

    monkeypatch.setattr(ThresholdEngine, "find", warned)
    code, reports, _ = start()
    burned, line = reports["US"]["warnings"]
    assert code == 0 and "text is burned into the image" in burned and line == "the picture is like none"
    assert any(record.getMessage().endswith(f": {line}") for record in caplog.records)


@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"])
def test_a_compressed_image_gives_what_the_plain_one_gives(tmp_path, start, name):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "a.dcm").write_bytes(Path(get_testdata_file(name)).read_bytes())
    code, _, folders = start()
    expected = shown(Path(get_testdata_file("MR_small.dcm"))) > LEVEL
    assert code == 0 and expected.any()
    np.testing.assert_array_equal(segment_by_file(folders["MR"] / SEG, (tmp_path / "study" / "a.dcm",))[0], expected)


def test_a_compressed_series_is_a_volume(tmp_path, start):
    files = write_phantom_volume(tmp_path / "study", slices=3).files
    expected = np.stack([shown(file) > LEVEL for file in files])
    for file in files:
        dataset = dcmread(file)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(file)
    _, _, folders = start()
    np.testing.assert_array_equal(segment_by_file(folders["CT"] / SEG, files), expected)


def test_a_second_run_skips_what_is_done_and_another_request_does_it_again(tmp_path, start, caplog):
    caplog.set_level(logging.INFO, "medclipsam.deploy")
    write_phantom_volume(tmp_path / "study", slices=4)
    _, _, folders = start()
    first = {path.name: path.read_bytes() for path in folders["CT"].iterdir()}
    assert start()[0] == 0 and "skipped, done before" in caplog.text
    assert {path.name: path.read_bytes() for path in folders["CT"].iterdir()} == first
    start(overwrite=True)
    again = {path.name: path.read_bytes() for path in folders["CT"].iterdir()}
    assert again.keys() == first.keys() and again[SEG] != first[SEG]
    start(pictures=1)
    assert {path.name for path in folders["CT"].glob("*.dcm")} == {SEG, "overlay_001.dcm"}
    (folders["CT"] / SEG).unlink()
    start(pictures=1)
    assert (folders["CT"] / SEG).is_file()


def test_nothing_found_is_a_report_without_dicom_and_done(tmp_path, start, caplog):
    caplog.set_level(logging.INFO, "medclipsam.deploy")
    write_phantom_volume(tmp_path / "study", slices=3)
    start()
    code, reports, folders = start(level=1.0)
    assert code == 0 and reports["CT"]["status"] == "done" and reports["CT"]["empty"]
    assert reports["CT"]["classes"][0]["volume_ml"] == 0
    assert {path.name for path in folders["CT"].iterdir()} == {"report.json"}
    assert "lungs not found" in caplog.text
    start(level=1.0)
    assert "skipped, done before" in caplog.text


def test_a_fault_in_one_series_stops_no_other_and_its_message_is_not_logged(tmp_path, start, monkeypatch, caplog):
    secret = "Doe^John"

    class Faulty(ThresholdEngine):
        def find(self, source, request):
            if source.stem.startswith("ct"):
                raise TypeError(secret)
            return super().find(source, request)

    monkeypatch.setattr(run_module, "load_engine", lambda *_: Faulty())
    write_phantom_volume(tmp_path / "study", "CT", slices=3)
    write_phantom_volume(tmp_path / "study", "MR", slices=3)
    code, reports, _ = start()
    assert code == 3 and reports["MR"]["status"] == "done" and reports["CT"]["status"] == "failed"
    assert "fault of the program (TypeError)" in reports["CT"]["reason"]
    assert secret not in caplog.text and "test_deploy_app.py" in caplog.text


def test_neither_log_nor_reports_name_the_patient_or_the_folders(tmp_path, start, caplog):
    caplog.set_level(logging.INFO)
    files = write_phantom_volume(tmp_path / "study" / "DOE_JOHN", slices=4).files
    write_phantom_xray(tmp_path / "study" / "DOE_JOHN" / "x")
    files[0].write_bytes(files[0].read_bytes()[:1500])
    code, reports, _ = start()
    assert code == 3
    written = caplog.text + "".join(path.read_text() for path in tmp_path.glob("out/**/*.json"))
    dataset = dcmread(files[1])
    for secret in ("DOE", "Phantom", "PHANTOM-0", dataset.StudyInstanceUID, dataset.SeriesInstanceUID, "20240102"):
        assert secret not in written
    assert "of 4: cannot be read as a DICOM image: cut short" in reports["CT"]["reason"]


def test_an_output_folder_that_is_taken_fails_its_series_only(tmp_path, start):
    write_phantom_volume(tmp_path / "study", "CT", slices=3)
    write_phantom_xray(tmp_path / "study")
    _, _, folders = start()
    taken = folders["CT"]
    for path in taken.iterdir():
        path.unlink()
    taken.rmdir()
    taken.write_text("not a folder")
    code, reports, _ = start()
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert code == 3 and "CR" in reports and taken.read_text() == "not a folder"
    (failed,) = [entry for entry in summary["series"] if entry["status"] == "failed"]
    assert failed["series"] == taken.name and "cannot write" in failed["reason"]


def test_rules_choose_series_and_say_what_to_seek(tmp_path, start):
    write_phantom_volume(tmp_path / "study", "CT", slices=3)
    write_phantom_volume(tmp_path / "study", "MR", slices=3)
    write_phantom_xray(tmp_path / "study")
    rules = {
        "selections": [
            {"name": "CT", "conditions": {"Modality": "CT"}, "text": 0.9, "window": "lung"},
            {"name": "MR", "conditions": {"Modality": "MR"}},
        ]
    }
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(rules))
    code, reports, _ = start(rules=path)
    assert code == 0 and set(reports) == {"CT", "MR"}
    assert {name: report["rule"] for name, report in reports.items()} == {"CT": "CT", "MR": "MR"}
    assert reports["CT"]["parameters"]["level"] == 0.9 and reports["CT"]["parameters"]["window"] == "lung"
    assert reports["MR"]["parameters"]["level"] == LEVEL and reports["MR"]["parameters"]["window"] is None
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["status"] == "finished" and [name[:2] for name in summary["not_selected"]] == ["cr"]


def test_a_run_that_is_stopped_says_so(tmp_path, monkeypatch):
    write_phantom_volume(tmp_path / "study", "CT", slices=3)

    class Stopped:
        def __init__(self, *_: object) -> None:
            pass

        def run(self) -> None:
            """As the SDK's graph ends on a signal: quietly, before the last series."""

    monkeypatch.setattr(run_module, "SegmentationApp", Stopped)
    settings = RunSettings(tmp_path / "study", tmp_path / "out", Wish(text=LEVEL))
    assert run(settings) == 130
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["status"] == "stopped"
