"""The command: a process on real scans whose SEG two independent readers open, and wrong arguments."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dicom_checks import SHARED_DICOM, dice_by_dcmqi, dice_by_highdicom, points_of
from highdicom.seg import segread
from PIL import Image
from pydicom import dcmread

from medclipsam_monai.deploy import __main__ as command
from medclipsam_monai.deploy.study import search_study
from medclipsam_monai.io.dicom_seg.source_frames import read_source_frames
from medclipsam_monai.phantoms.dicom import write_phantom_volume, write_phantom_xray
from medclipsam_monai.presets import DEFAULT_PRESET
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

TEXTS = ["lungs=lungs", "lungs=a chest CT showing the lungs", "heart"]


def start(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "medclipsam_monai.deploy", *map(str, words)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def real_xray(folder: Path) -> None:
    """A real chest X-ray's pixels in a radiograph's file."""
    (path,) = write_phantom_xray(folder).files
    image = sorted((SHARED_DICOM.parent / "lung_xray" / "images").iterdir())[0]
    pixels = np.asarray(Image.open(image).convert("L"), np.uint16) * 16
    dataset = dcmread(path)
    dataset.Rows, dataset.Columns, dataset.PixelData = *pixels.shape, pixels.tobytes()
    dataset.save_as(path)


@pytest.fixture(scope="module")
def real_study(tmp_path_factory) -> Path:
    """CT and MR series, an X-ray, and a file that is cut short."""
    if not SHARED_DICOM.is_dir():
        pytest.skip("needs real DICOM images, which are no part of the project")
    folder = tmp_path_factory.mktemp("study")
    shutil.copytree(SHARED_DICOM / "ct_3slice_with_seg", folder / "ct")
    (folder / "mr").mkdir()
    for path in sorted((SHARED_DICOM / "mr_head").iterdir())[8:12]:
        shutil.copy(path, folder / "mr")
    real_xray(folder / "xray")
    broken = folder / "broken.dcm"
    broken.write_bytes((SHARED_DICOM / "ct_3slice_with_seg" / "01.dcm").read_bytes()[:600])
    return folder


@pytest.fixture(scope="module")
def real_run(real_study, tmp_path_factory):
    output = tmp_path_factory.mktemp("output")
    texts = [word for text in TEXTS for word in ("--text", text)]
    return start("-i", real_study, "-o", output, *texts, "--preset", "demo", "--device", "cpu"), output


@pytest.fixture(scope="module")
def segmenter():
    return TextSegmenter.from_preset("demo", "cpu")


@pytest.mark.slow
def test_real_series_are_done_and_the_broken_file_is_said(real_run):
    result, output = real_run
    assert result.returncode == 3, result.stderr[-3000:]
    reports = [json.loads(path.read_text()) for path in output.glob("*/report.json")]
    assert sorted((report["modality"] or "", report["status"]) for report in reports) == [
        ("", "failed"),
        ("CR", "done"),
        ("CT", "done"),
        ("MR", "done"),
    ]
    lines = result.stderr.splitlines()
    assert "3 done, 0 skipped, 1 failed" in lines[-1] and len(lines) < 12
    assert all(line.split()[2] in ("INFO", "WARNING", "ERROR") for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_the_seg_of_a_real_series_lies_where_two_readers_expect_it(real_run, real_study, segmenter, modality):
    """The answer is what the package's own call gives, put into the patient by the headers of the files alone."""
    _, output = real_run
    (series,) = (one for one in search_study(real_study).series if one.header.get("Modality") == modality)
    found = segmenter(series.source, TEXTS)
    frames = read_source_frames(series.source.paths, found.geometry)
    labels = frames.stored(found.label_map)
    present = [number for number in (1, 2) if (labels == number).any()]
    assert present
    for segment, number in enumerate(present, start=1):
        points = points_of(labels == number, frames.headers)
        path = output / series.name / "segmentation.dcm"
        assert dice_by_highdicom(path, segment, points) == 1.0
        assert dice_by_dcmqi(path, segment, points) == 1.0


@pytest.mark.slow
def test_the_seg_of_a_real_x_ray_lies_on_its_pixels(real_run, real_study, segmenter):
    _, output = real_run
    (series,) = (one for one in search_study(real_study).series if one.header.get("Modality") == "CR")
    labels = segmenter(series.source, TEXTS).label_map.numpy()
    seg = segread(output / series.name / "segmentation.dcm")
    frames = seg.get_pixels_by_source_instance(
        [series.header.SOPInstanceUID], combine_segments=True, ignore_spatial_locations=True
    )
    present = [number for number in (1, 2) if (labels == number).any()]
    assert present
    expected = sum((labels == number) * place for place, number in enumerate(present, start=1))
    np.testing.assert_array_equal(frames[0], expected)


@pytest.fixture
def call(monkeypatch, capsys):
    """The command in this process: (exit code, standard error)."""

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["medclipsam_monai.deploy", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            command.main()
        return int(stop.value.code or 0), capsys.readouterr().err

    return run


def test_a_study_from_the_environment_alone(tmp_path, call, monkeypatch, tiny_preset):
    write_phantom_volume(tmp_path / "in", slices=2)
    (tmp_path / "classes.json").write_text(json.dumps({"lungs": {"sentences": "lungs", "opposites": "no lungs"}}))
    values = {
        "HOLOSCAN_INPUT_PATH": tmp_path / "in",
        "HOLOSCAN_OUTPUT_PATH": tmp_path / "out",
        "MEDCLIPSAM_PROMPTS": tmp_path / "classes.json",
        "MEDCLIPSAM_PRESET": tiny_preset,
        "MEDCLIPSAM_DEVICE": "cpu",
        "MEDCLIPSAM_WINDOW": "lung",
        "MEDCLIPSAM_PICTURES": 1,
    }
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))
    assert call()[0] == 0
    (path,) = (tmp_path / "out").glob("*/report.json")
    report = json.loads(path.read_text())
    assert report["texts"] == {"lungs": ["lungs"]} and report["classes"][0]["presence"] is not None
    assert report["parameters"]["window"] == "lung" and report["parameters"]["pictures"] == 1


def test_without_a_preset_the_reports_of_a_finished_run_name_the_default(tmp_path, call):
    write_phantom_xray(tmp_path / "in")
    assert call("-i", tmp_path / "in", "-o", tmp_path / "out", "--text", "lungs", "--device", "cpu")[0] == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    reports = {one["series"]: tmp_path / "out" / one["series"] / "report.json" for one in summary["series"]}
    assert summary["status"] == "finished" and len(reports) == 1
    for path in reports.values():
        report = json.loads(path.read_text())
        assert report["status"] == "done" and report["preset"] == DEFAULT_PRESET
        assert report["classes"][0]["nearest_known"]["text"]


def test_texts_and_opposites_of_the_environment_are_parted_by_semicolons(tmp_path, call, monkeypatch, tiny_preset):
    write_phantom_volume(tmp_path / "in", slices=2)
    monkeypatch.setenv("MEDCLIPSAM_TEXT", "lungs=lungs in a chest; heart ;")
    monkeypatch.setenv("MEDCLIPSAM_OPPOSITE", "heart=no heart")
    words = ("-i", tmp_path / "in", "-o", tmp_path / "out", "--preset", tiny_preset, "--device", "cpu")
    assert call(*words) == (0, "")
    (path,) = (tmp_path / "out").glob("*/report.json")
    report = json.loads(path.read_text())
    assert report["texts"] == {"lungs": ["lungs in a chest"], "heart": ["heart"]}
    assert [entry["presence"] is None for entry in report["classes"]] == [True, False]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "there is no text"),
        (["--text", " "], "the text is empty"),
        (["--text", "lungs", "--prompts", "none.json"], "not as both"),
        (["--prompts", "none.json"], "--prompts none.json is not a readable JSON file"),
        (["--text", "lungs", "--window", "lungs"], 'unknown window "lungs"'),
        (["--text", "lungs", "--preset", "none"], "unknown preset 'none'"),
        (["--text", "lungs", "--task", "none"], "has no task 'none'"),
        (["--text", "lungs", "--device", "tpu"], "device 'tpu' is not available"),
        (["--text", "lungs", "--bundle", "none"], "none is no bundle"),
        (["--text", "lungs", "--pictures", "0"], "--pictures must be a positive whole number, got 0"),
        (["--text", "lungs", "--rules", "none.json"], "the rules file none.json is not a readable"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(tmp_path, call, words, message):
    write_phantom_xray(tmp_path / "in")
    code, error = call("-i", tmp_path / "in", "-o", tmp_path / "out", *words)
    lines = [line for line in error.splitlines() if line.startswith("medclipsam: ")]
    assert code == 2 and len(lines) == 1 and message in lines[0]
    assert [path.name for path in (tmp_path / "out").rglob("*")] in ([], ["summary.json"])


def test_missing_folders_are_exit_code_2(tmp_path, call, monkeypatch):
    monkeypatch.delenv("HOLOSCAN_INPUT_PATH", raising=False)
    assert call("-o", tmp_path / "out")[0] == 2
    code, error = call("-i", tmp_path / "none", "-o", tmp_path / "out", "--text", "lungs")
    assert code == 2 and "the input is not a folder" in error


def test_without_the_app_sdk_the_extra_is_named(tmp_path, call, monkeypatch):
    monkeypatch.setitem(sys.modules, "monai.deploy.conditions", None)
    for name in ("operators", "app", "run"):
        monkeypatch.delitem(sys.modules, f"medclipsam_monai.deploy.{name}", raising=False)
    code, error = call("-i", tmp_path, "-o", tmp_path / "out", "--text", "lungs")
    assert code == 2 and "pip install 'medclipsam-monai[deploy]'" in error and len(error.splitlines()) == 1
