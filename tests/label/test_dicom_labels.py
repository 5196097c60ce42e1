"""Labels of a DICOMweb archive: under which names they are written, which ones count, and what is read of them.

The archive is one in memory that answers as DICOMweb does; test_dicomweb.py asks Orthanc.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_files import write_series
from fastapi import HTTPException
from monailabel.datastore.dicom import DICOMWebDatastore
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from medclipsam_monai.label.label_files import read_submitted
from medclipsam_monai.label.served_classes import ServedClasses
from medclipsam_monai.label.server.dicom_seg import read_segments, segment_entries, write_segments
from medclipsam_monai.label.server.dicomweb import CheckedDicomweb
from medclipsam_monai.label.tasks.submitted import submitted_labels
from medclipsam_monai.label.tasks.training_labels import class_numbers
from medclipsam_monai.prompts import parse_targets

SHAPE = (12, 10, 3)  # x, y, z
LUNGS, HEART = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
LUNGS[1:4, 2:8], HEART[6:9, 3:6, 1:] = True, True


class Archive:
    """The calls of a DICOMweb client, on instances in memory."""

    base_url = "http://archive/dicom-web"

    def __init__(self) -> None:
        self.instances: list[Dataset] = []

    def search_for_series(self, search_filters: dict[str, str]) -> list[dict[str, Any]]:
        found = {}
        for one in self.instances:
            if all(str(one[name].value) == value for name, value in search_filters.items()):
                found[one.SeriesInstanceUID] = _header(one)
        return list(found.values())

    def retrieve_series(self, study: str, series: str) -> list[Dataset]:
        return [one for one in self.instances if (one.StudyInstanceUID, one.SeriesInstanceUID) == (study, series)]

    def retrieve_series_metadata(self, study: str, series: str) -> list[dict[str, Any]]:
        return [_header(one) for one in self.retrieve_series(study, series)]

    def store_instances(self, datasets: list[Dataset]) -> Dataset:
        self.instances += datasets
        answer = Dataset()
        answer.RetrieveURL = f"{self.base_url}/studies/1/series/{datasets[0].SeriesInstanceUID}"
        return answer

    def segmentations(self) -> list[Dataset]:
        return [one for one in self.instances if one.Modality == "SEG"]


def _header(dataset: Dataset) -> dict[str, Any]:
    return {tag: value for tag, value in dataset.to_json_dict().items() if tag != "7FE00010"}


@pytest.fixture
def archive(tmp_path, monkeypatch) -> Archive:
    """One CT series."""
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{Path(sys.executable).parent}")
    voxels = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE[::-1])
    identity = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    write_series(
        tmp_path / "ct", voxels, **identity, PatientID="phantom", StudyID="1", StudyDate="20200101", StudyTime="1200",
        AccessionNumber="1", SeriesDescription="phantom", RescaleSlope=1, RescaleIntercept=0, SliceThickness=2.0,
    )  # fmt: skip
    found = Archive()
    found.instances = [pydicom.dcmread(path) for path in sorted((tmp_path / "ct").rglob("*.dcm"))]
    return found


@pytest.fixture
def store(archive, tmp_path) -> CheckedDicomweb:
    classes = ServedClasses(parse_targets(["lungs", "heart"]))
    plain = DICOMWebDatastore(archive, {"Modality": "CT"}, cache_path=str(tmp_path / "cache"))
    return CheckedDicomweb.of(plain, classes)


def image_of(store: CheckedDicomweb) -> str:
    (image,) = store.list_images()
    return image


def saved(store: CheckedDicomweb, label: np.ndarray, folder: Path, **info: Any) -> str:
    image = image_of(store)
    affine = nib.load(store.get_image_uri(image)).affine
    nib.save(nib.Nifti1Image(label.astype(np.uint8), affine), folder / "label.nii.gz")
    return store.save_label(image, str(folder / "label.nii.gz"), "final", info)


def segment_voxels(dataset: Dataset) -> dict[str, int]:
    """The number of voxels of each segment, by its label; counted by pydicom."""
    names = {int(segment.SegmentNumber): str(segment.SegmentLabel) for segment in dataset.SegmentSequence}
    counts = dict.fromkeys(names.values(), 0)
    for frame, pixels in zip(dataset.PerFrameFunctionalGroupsSequence, dataset.pixel_array, strict=True):
        number = int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        counts[names[number]] += int(pixels.sum())
    return counts


@pytest.mark.parametrize(
    "info", [{}, {"label_info": [{"name": "lungs", "idx": 1}, {"name": "heart", "idx": 2, "color": [9, 8, 7]}]}]
)
def test_a_segment_has_the_name_of_its_number_not_that_of_its_place(store, archive, tmp_path, info):
    saved(store, 2 * HEART, tmp_path, **info)
    (seg,) = archive.segmentations()
    assert segment_voxels(seg) == {"heart": HEART.sum()}
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == image_of(store)


def test_the_newest_segmentation_counts_and_its_segments_keep_their_names(store, archive, tmp_path):
    """OHIF numbers segments by the alphabet, and exports DICOM SEG itself."""
    saved(store, 1 * LUNGS, tmp_path)
    image = image_of(store)
    label = 2 * LUNGS + 1 * HEART
    nib.save(
        nib.Nifti1Image(label.astype(np.uint8), nib.load(store.get_image_uri(image)).affine), tmp_path / "o.nii.gz"
    )
    series = Path(store.get_image_uri(image).removesuffix(".nii.gz"))
    exported = pydicom.dcmread(write_segments(series, tmp_path / "o.nii.gz", {"heart": 1, "lungs": 2}))
    exported.ContentDate = "29991231"
    archive.store_instances([exported])
    (one,) = submitted_labels(store)
    found = class_numbers(read_voxels(one.label), one.label_info, ["lungs", "heart"])
    np.testing.assert_array_equal(found, 1 * LUNGS + 2 * HEART)
    archive.instances.remove(exported)
    (one,) = submitted_labels(store)
    np.testing.assert_array_equal(class_numbers(read_voxels(one.label), one.label_info, ["lungs"]), LUNGS)
    archive.instances = [instance for instance in archive.instances if instance.Modality != "SEG"]
    assert submitted_labels(store) == []


def read_voxels(file: Path) -> np.ndarray:
    """(x, y, z), by SimpleITK."""
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(sitk.ReadImage(str(file))).T.astype(np.uint8)


@pytest.mark.parametrize("dtype", ["<u1", "<u2"])
def test_bare_voxels_lie_on_the_image(store, archive, tmp_path, dtype):
    (tmp_path / "label.bin").write_bytes((1 * LUNGS + 2 * HEART).astype(dtype).tobytes(order="F"))
    store.save_label(image_of(store), str(tmp_path / "label.bin"), "final", {})
    assert segment_voxels(archive.segmentations()[0]) == {"lungs": LUNGS.sum(), "heart": HEART.sum()}
    kept = store.get_label_uri(image_of(store), "final")
    np.testing.assert_array_equal(read_voxels(kept), 1 * LUNGS + 2 * HEART)


def test_bare_voxels_of_another_number_are_refused(store, archive, tmp_path):
    (tmp_path / "label.bin").write_bytes(b"\1" * 7)
    with pytest.raises(HTTPException) as refused:
        store.save_label(image_of(store), str(tmp_path / "label.bin"), "final", {})
    assert refused.value.status_code == 422 and "holds 7 bytes for an image of 360 voxels" in refused.value.detail
    assert archive.segmentations() == []


def test_a_label_that_is_not_there_has_no_file(store):
    image = image_of(store)
    assert store.get_label_uri(image, "final") == store.get_label_uri("1.2.3", "final") == ""


def test_an_answer_as_dicom_seg_has_the_answers_names(store, tmp_path):
    image = store.get_image_uri(image_of(store))
    nib.save(nib.Nifti1Image((2 * HEART + 5 * LUNGS).astype(np.uint8), nib.load(image).affine), tmp_path / "a.nii.gz")
    numbers = {"lungs": 5, "heart": 2, "liver": 3}
    file = write_segments(image.removesuffix(".nii.gz"), tmp_path / "a.nii.gz", numbers)
    assert segment_voxels(pydicom.dcmread(file)) == {"heart": HEART.sum(), "lungs": LUNGS.sum()}
    (tmp_path / "seg").mkdir()
    shutil.move(file, tmp_path / "seg" / "one.dcm")
    assert [entry["name"] for entry in read_segments(tmp_path / "seg")] == ["heart", "lungs"]


def test_a_name_that_is_too_long_for_a_segment_is_found_again(store, tmp_path):
    name = "a chest x-ray of an adult which shows the heart behind the breastbone, seen from the front"
    (entry,) = segment_entries([4], [{"name": name, "idx": 4}])
    assert len(entry["name"]) == 64 and entry["description"] == name
    image = store.get_image_uri(image_of(store))
    nib.save(nib.Nifti1Image((4 * HEART).astype(np.uint8), nib.load(image).affine), tmp_path / "a.nii.gz")
    (tmp_path / "seg").mkdir()
    shutil.move(write_segments(image.removesuffix(".nii.gz"), tmp_path / "a.nii.gz", {name: 4}), tmp_path / "seg" / "1")
    assert [found["name"] for found in read_segments(tmp_path / "seg")] == [name]


@pytest.mark.parametrize("names", [("Lungenflügel", "心臓"), ("Лёгкие", "قلب"), ("le cœur", "Lunge, links ß")])
def test_names_in_any_script_come_back_and_the_patients_name_stays(store, archive, tmp_path, names):
    """dcmqi itself writes ASCII alone, and ended without a file."""
    for one in archive.instances:
        one.SpecificCharacterSet, one.PatientName = "ISO_IR 100", "Müller^Jörg"
    said = [{"name": name, "idx": number} for number, name in enumerate(names, start=1)]
    saved(store, 1 * LUNGS + 2 * HEART, tmp_path, label_info=said)
    archive.segmentations()[0].save_as(tmp_path / "seg.dcm")
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert segment_voxels(seg) == dict(zip(names, (LUNGS.sum(), HEART.sum()), strict=True))
    assert [str(s.SegmentedPropertyTypeCodeSequence[0].CodeMeaning) for s in seg.SegmentSequence] == list(names)
    assert seg.PatientName == "Müller^Jörg"
    store.update_label_info(image_of(store), "final", {"SeriesInstanceUID": "of another server"})
    (one,) = submitted_labels(store)
    np.testing.assert_array_equal(class_numbers(read_voxels(one.label), one.label_info, [names[1]]), HEART)


def test_a_name_that_would_be_two_in_dicom_is_refused(store, archive, tmp_path):
    with pytest.raises(HTTPException) as refused:
        saved(store, HEART, tmp_path, label_info=[{"name": "left\\right", "idx": 1}])
    assert refused.value.status_code == 422 and "in DICOM a backslash ends a name" in refused.value.detail
    assert archive.segmentations() == []


@pytest.mark.parametrize("color", ["red", None, [1, 2], [300, 0, 0], 5, ["x", "y", "z"]])
def test_a_colour_that_is_none_costs_no_label(store, archive, tmp_path, color):
    said = {"name": "heart\n of  it", "idx": 1, "color": color, "segmentAttribute": {"labelID": 7}, "model_name": "ä"}
    saved(store, HEART, tmp_path, label_info=[said])
    assert segment_voxels(archive.segmentations()[0]) == {"heart of it": HEART.sum()}


def test_what_dcmqi_cannot_write_is_one_line(store, archive, tmp_path, monkeypatch):
    image = image_of(store)
    store.get_image_uri(image)
    for file in (Path(store._datastore.image_path()) / image).iterdir():
        file.write_bytes(b"no DICOM")
    with pytest.raises(HTTPException) as refused:
        saved(store, HEART, tmp_path)
    assert refused.value.status_code == 422 and "dcmqi can make no DICOM SEG" in refused.value.detail


@pytest.mark.parametrize("slices", [[1], [0, 2], [2]])
def test_a_segmentation_without_the_empty_slices_lies_on_the_image(store, archive, tmp_path, slices):
    """OHIF, dcmqi and highdicom leave slices out on which nothing is drawn."""
    heart = np.zeros(SHAPE, bool)
    heart[6:9, 3:6, slices] = True
    saved(store, heart, tmp_path, label_info=[{"name": "heart", "idx": 1}])
    (seg,) = archive.segmentations()
    assert seg.pixel_array.sum() == heart.sum() and seg.NumberOfFrames == len(range(slices[0], slices[-1] + 1))
    store.update_label_info(image_of(store), "final", {"SeriesInstanceUID": "of another server"})
    (one,) = submitted_labels(store)
    found, _ = read_submitted(one.label, one.image)
    expected, _ = read_submitted(tmp_path / "label.nii.gz", one.image)
    np.testing.assert_array_equal(found, expected)
    assert found.sum() == heart.sum()


def test_a_segmentation_of_another_grid_is_left_out(store, archive, tmp_path, caplog):
    saved(store, HEART, tmp_path)
    (seg,) = archive.segmentations()
    for frame in seg.PerFrameFunctionalGroupsSequence:
        x, y, z = frame.PlanePositionSequence[0].ImagePositionPatient
        frame.PlanePositionSequence[0].ImagePositionPatient = [x + 0.3, y, z]
    before = store.get_label_uri(image_of(store), "final")
    store.update_label_info(image_of(store), "final", {"SeriesInstanceUID": "of another server"})
    submitted_labels(store)
    assert "is left out: a pixel of it is none of the image" in caplog.text
    np.testing.assert_array_equal(read_voxels(before), HEART)
