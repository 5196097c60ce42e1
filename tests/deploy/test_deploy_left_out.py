"""What is DICOM and not segmented is named in log and summary, with the reason and nothing of the patient."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.fileset import FileSet
from pydicom.uid import BasicTextSRStorage, ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from threshold_engine import ThresholdEngine

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.deploy import run as run_module
from medclipsam_monai.deploy.engines import Wish
from medclipsam_monai.deploy.run import RunSettings, run
from medclipsam_monai.deploy.study import LeftOutSeries, search_study
from medclipsam_monai.io.dicom_seg.algorithm import Algorithm
from medclipsam_monai.io.dicom_seg.secondary_capture import secondary_captures
from medclipsam_monai.io.dicom_seg.segmentation import segmentation_object
from medclipsam_monai.phantoms.dicom import write_phantom_volume, write_phantom_xray

ALGORITHM = Algorithm("none", {"clip": "00"}, "test", "1")
SCREEN = "a secondary capture or report screen of a study that has images"
LOCALIZER = "a localizer of a study that has other images"
SEGMENTATION = "a DICOM Segmentation Storage, not an image"


def named(kind: str, *uids: str) -> str:
    return f"{kind}_{hashlib.sha256(''.join(uids).encode()).hexdigest()[:8]}"


def write_screens(like: Path, folder: Path, count: int = 1) -> list[Dataset]:
    """A foreign series of secondary captures in the study of an image, as a workstation makes them."""
    series, made = generate_uid(), []
    for number in range(count):
        screen = dcmread(like)
        screen.SOPClassUID, screen.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
        screen.SeriesInstanceUID, screen.SeriesNumber, screen.Modality = series, 9, "OT"
        screen.Manufacturer, screen.PatientName, screen.PatientID = "Doe Imaging", "Doe^John", "MRN-4711"
        screen.file_meta.MediaStorageSOPClassUID = screen.SOPClassUID
        screen.pop("ImagePositionPatient", None)
        screen.save_as(folder / f"DOE_JOHN_screen{number}.dcm", enforce_file_format=True)
        made.append(screen)
    return made


def write_localizer(folder: Path) -> list[Dataset]:
    """Two slices that say what they are, in the study of the phantom CT."""
    slices = []
    for path in write_phantom_volume(folder / "scout", slices=2).files:
        one = dcmread(path)
        one.ImageType, one.SeriesNumber = ["ORIGINAL", "PRIMARY", "LOCALIZER"], 0
        one.save_as(path)
        slices.append(one)
    return slices


def write_seg(files: Sequence[Path], folder: Path, **elements: object) -> Dataset:
    headers = [dcmread(file, stop_before_pixels=True) for file in files]
    labels = np.ones((len(files), headers[0].Rows, headers[0].Columns), np.uint8)
    seg = segmentation_object(labels, ["lungs"], headers, ALGORITHM)
    for keyword, value in elements.items():
        setattr(seg, keyword, value)
    seg.save_as(folder / "DOE_JOHN_masks.dcm", enforce_file_format=True)
    return seg


@pytest.fixture
def start(tmp_path, monkeypatch, caplog):
    """Run on tmp_path/study: (exit code, summary, log)."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(run_module, "load_engine", lambda *_: ThresholdEngine())

    def call(**settings: Path) -> tuple[int | None, dict, str]:
        try:
            code = run(RunSettings(tmp_path / "study", tmp_path / "out", Wish(text=0.4), **settings))
        except InputError:
            code = None
        return code, json.loads((tmp_path / "out" / "summary.json").read_text()), caplog.text

    return call


def test_a_foreign_secondary_capture_beside_an_x_ray(tmp_path, start):
    (image,) = write_phantom_xray(tmp_path / "study").files
    (screen,) = write_screens(image, tmp_path / "study")
    code, summary, log = start()
    name = named("ot_9", screen.SeriesInstanceUID, screen.SOPInstanceUID)
    assert code == 0 and [entry["status"] for entry in summary["series"]] == ["done"]
    assert summary["left_out"] == [{"series": name, "files": 1, "reason": SCREEN}]
    assert summary["not_selected"] == []
    assert f"{name}: left out, {SCREEN}\n" in log and "1 series to segment, 1 left out" in log


def test_captures_localizers_and_segmentations_are_entries_without_any_identifier(tmp_path, start):
    study = tmp_path / "study"
    files = write_phantom_volume(study, slices=3).files
    screens = write_screens(files[0], study, count=3)
    scouts = write_localizer(study)
    seg = write_seg(files, study, Manufacturer="Doe Imaging", SeriesNumber=12)
    code, summary, log = start()
    assert code == 0 and [entry["status"] for entry in summary["series"]] == ["done"]
    expected = [
        {"series": named("ct_0", scouts[0].SeriesInstanceUID), "files": 2, "reason": LOCALIZER},
        {"series": named("ot_9", screens[0].SeriesInstanceUID), "files": 3, "reason": SCREEN},
        {"series": named("seg_12", seg.SeriesInstanceUID, seg.SOPInstanceUID), "files": 1, "reason": SEGMENTATION},
    ]
    assert summary["left_out"] == expected
    assert "1 series to segment, 3 left out" in log and f"left out, {SCREEN} (3 files)" in log
    written = log + "".join(path.read_text() for path in tmp_path.glob("out/**/*.json"))
    headers = [*screens, *scouts, seg]
    uids = {one[name].value for one in headers for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")}
    for secret in ("doe", "john", "mrn-4711", "phantom", "20240102", str(tmp_path).lower(), *uids):
        assert secret not in written.lower(), secret


def test_what_no_rule_chooses_is_counted_beside_what_is_left_out(tmp_path, start):
    (image,) = write_phantom_xray(tmp_path / "study").files
    write_phantom_volume(tmp_path / "study", "MR", slices=3)
    write_screens(image, tmp_path / "study")
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps({"selections": [{"conditions": {"Modality": "CR"}}]}))
    code, summary, log = start(rules=rules)
    assert code == 0 and "1 series to segment, 2 left out" in log
    assert [name[:5] for name in summary["not_selected"]] == ["mr_1_"]
    assert [entry["series"][:5] for entry in summary["left_out"]] == ["ot_9_"]


def test_a_localizer_in_the_series_of_its_slices_bears_the_series_name(tmp_path):
    files = write_phantom_volume(tmp_path, slices=4).files
    first = dcmread(files[0])
    first.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    first.save_as(files[0])
    study = search_study(tmp_path)
    (series,) = study.series
    assert len(series.source.paths) == 3
    assert study.left_out == (LeftOutSeries(series.name, 1, LOCALIZER),)


def test_a_study_without_images_says_what_else_there_was(tmp_path, start):
    study = tmp_path / "study"
    files = write_phantom_volume(study, slices=3).files
    seg = write_seg(files, study, Manufacturer="Doe Imaging", SeriesNumber=12)
    for file in files:
        file.unlink()
    code, summary, _ = start()
    name = named("seg_12", seg.SeriesInstanceUID, seg.SOPInstanceUID)
    assert code is None and summary["status"] == "nothing done"
    assert summary["reason"] == "the input folder holds no DICOM image to segment: 1 series left out"
    assert summary["left_out"] == [{"series": name, "files": 1, "reason": SEGMENTATION}]


def test_captures_alone_are_the_images_of_their_study(tmp_path):
    (image,) = write_phantom_xray(tmp_path).files
    (screen,) = write_screens(image, tmp_path)
    image.unlink()
    study = search_study(tmp_path)
    name = named("ot_9", screen.SeriesInstanceUID, screen.SOPInstanceUID)
    assert [series.name for series in study.series] == [name] and study.left_out == ()


def test_a_report_without_pixels_is_an_entry(tmp_path):
    (image,) = write_phantom_xray(tmp_path).files
    report = Dataset()
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    report.SOPClassUID, report.SOPInstanceUID, report.SeriesInstanceUID = BasicTextSRStorage, "1.2.3", "1.2.4"
    report.StudyInstanceUID, report.Modality = dcmread(image).StudyInstanceUID, "SR"
    report.save_as(tmp_path / "report", enforce_file_format=True)
    expected = LeftOutSeries(named("sr", "1.2.4", "1.2.3"), 1, "a DICOM Basic Text SR Storage, not an image")
    assert search_study(tmp_path).left_out == (expected,)


def test_a_second_copy_is_an_entry_and_images_without_a_uid_are_no_copies(tmp_path, change):
    (image,) = write_phantom_xray(tmp_path).files
    shutil.copy(image, tmp_path / "copy.dcm")
    study = search_study(tmp_path)
    (series,) = study.series
    assert study.left_out == (LeftOutSeries(series.name, 1, "a second copy of this image"),)
    for path in (image, tmp_path / "copy.dcm"):
        change(path, SOPInstanceUID=None)
    study = search_study(tmp_path)
    assert len({series.name for series in study.series}) == 2 and study.left_out == ()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".chest.dcm", "a hidden file"),
        (".trash/chest.dcm", "a hidden file"),
        ("chest_mask.dcm", "a DICOM file with a name that outputs of this package have"),
        ("chest.png", "a DICOM file whose name ends as those of another format do"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*left out for names that outputs have")
def test_an_image_that_is_passed_by_for_its_name_is_an_entry(tmp_path, change, name, reason):
    (image,) = write_phantom_xray(tmp_path).files
    other = tmp_path / name
    other.parent.mkdir(exist_ok=True)
    shutil.copy(image, other)
    change(other, SOPInstanceUID="1.2.3", SeriesInstanceUID="1.2.4", SeriesNumber=7)
    study = search_study(tmp_path)
    assert [series.source.paths for series in study.series] == [(image,)]
    assert study.left_out == (LeftOutSeries(named("cr_7", "1.2.4", "1.2.3"), 1, reason),)


def test_a_disc_with_its_index_and_files_of_other_kinds_is_no_fault(tmp_path, start):
    (image,) = write_phantom_xray(tmp_path / "files").files
    (screen,) = write_screens(image, tmp_path / "files")
    disc = FileSet()
    disc.add(image)
    disc.add(tmp_path / "files" / "DOE_JOHN_screen0.dcm")
    disc.write(tmp_path / "study")
    assert (tmp_path / "study" / "DICOMDIR").is_file()
    (tmp_path / "study" / "notes.txt").write_text("none")
    (tmp_path / "study" / ".hidden").write_bytes(b"")
    (tmp_path / "study" / "autorun").write_bytes(bytes(500))
    code, summary, _ = start()
    name = named("ot_9", screen.SeriesInstanceUID, screen.SOPInstanceUID)
    assert code == 0 and summary["left_out"] == [{"series": name, "files": 1, "reason": SCREEN}]


@pytest.mark.filterwarnings("ignore:.*left out for names that outputs have")
@pytest.mark.parametrize("with_images", [True, False])
def test_segmentations_and_own_pictures_that_came_back_are_no_entries(tmp_path, with_images):
    files = write_phantom_volume(tmp_path, slices=3).files
    write_seg(files, tmp_path)
    shutil.copy(tmp_path / "DOE_JOHN_masks.dcm", tmp_path / "series_seg.dcm")
    header = dcmread(files[0], stop_before_pixels=True)
    pictures = np.zeros((1, header.Rows, header.Columns, 3), np.uint8)
    (capture,) = secondary_captures(pictures, [header], ALGORITHM, frames=[0])
    capture.save_as(tmp_path / "capture.dcm", enforce_file_format=True)
    if not with_images:
        for file in files:
            file.unlink()
    study = search_study(tmp_path)
    assert [len(series.source.paths) for series in study.series] == ([3] if with_images else [])
    assert study.left_out == ()
