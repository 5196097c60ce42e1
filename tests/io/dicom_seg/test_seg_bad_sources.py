"""Images that no DICOM SEG can refer to: one line that says what they lack."""

from __future__ import annotations

import copy

import numpy as np
import pydicom.config
import pytest
from dicom_files import functional_groups
from pydicom import dcmread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.dicom_seg.algorithm import Algorithm
from medclipsam_monai.io.dicom_seg.segmentation import segmentation_object
from medclipsam_monai.phantoms.dicom import PhantomSeries, write_phantom_ultrasound, write_phantom_volume

pytestmark = pytest.mark.seg
ALGORITHM = Algorithm("demo", {"clip": "c" * 64, "sam": "5" * 64})


def headers(series: PhantomSeries) -> list[Dataset]:
    return [dcmread(path, stop_before_pixels=True) for path in series.files]


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    return write_phantom_volume(tmp_path_factory.mktemp("ct"), slices=4)


@pytest.fixture
def sources(volume) -> list[Dataset]:
    return headers(volume)


@pytest.fixture
def labels(volume) -> np.ndarray:
    return np.where(volume.masks["lungs"], 2, volume.masks["heart"]).astype(np.uint8)


def test_a_single_slice_that_is_not_placed_is_refused_where_its_kind_must_be(sources, labels):
    for keyword in ("FrameOfReferenceUID", "ImagePositionPatient"):
        (source,) = copy.deepcopy(sources[:1])
        delattr(source, keyword)
        with pytest.raises(InputError, match=r"no segmentation of these images: .*Frame Of Reference|no Frame"):
            segmentation_object(labels[:1], ["heart", "lungs"], [source], ALGORITHM)


def drop(keyword, *which):
    def change(sources):
        for index in which or range(len(sources)):
            delattr(sources[index], keyword)

    return change


def put(keyword, value, *which):
    def change(sources):
        for index in which or range(len(sources)):
            setattr(sources[index], keyword, value)

    return change


def uneven_without_thickness(sources):
    for index, source in enumerate(sources):
        source.ImagePositionPatient, source.SliceThickness = [0, 0, index**1.5], None
        source.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("FrameOfReferenceUID"), "no common FrameOfReferenceUID"),
        (put("FrameOfReferenceUID", "1.2.3", 2), "no common FrameOfReferenceUID"),
        (drop("ImagePositionPatient", 1), "not all of the source images state ImagePositionPatient"),
        (drop("ImageOrientationPatient"), "not all of the source images state ImageOrientationPatient"),
        (drop("PixelSpacing"), "not all of the source images state PixelSpacing"),
        (put("ImageOrientationPatient", [1, 0, 0, 0, 0, -1], 3), "differ in ImageOrientationPatient"),
        (put("PixelSpacing", [1, 2], 3), "differ in PixelSpacing"),
        (put("ImagePositionPatient", [1, 2, 3], 0, 1), "no segmentation of these images: .* duplicates"),
        (uneven_without_thickness, "no SliceThickness and lie unevenly"),
        (drop("ImagePositionPatient"), "4 frames without positions"),
        (put("SeriesInstanceUID", "1.2.3", 2), "one series and one size"),
        (put("NumberOfFrames", 3, 2), "single frames, or one multi-frame image"),
        (drop("SOPInstanceUID", 2), "state no SOPInstanceUID"),
        (drop("StudyInstanceUID"), "state no StudyInstanceUID"),
        (put("SOPClassUID", "1.2.3"), "no segmentation of these images"),
    ],
)
def test_sources_that_cannot_be_referred_to_are_refused(change, message, labels, sources):
    change(sources)
    with pytest.raises(InputError, match=message):
        segmentation_object(labels, ["heart", "lungs"], sources, ALGORITHM)


@pytest.mark.parametrize("bad", ["A\x07B", "A\x1b[31mB", "M\ufffdller", "A" * 65, "a\\b"])
def test_what_a_source_states_against_the_rules_is_left_empty(bad, labels, sources):
    for source in sources:
        source["PatientID"] = DataElement("PatientID", "LO", bad, validation_mode=pydicom.config.IGNORE)
        source["PatientName"] = DataElement("PatientName", "PN", bad, validation_mode=pydicom.config.IGNORE)
    seg = segmentation_object(labels, ["heart", "lungs"], sources, ALGORITHM)
    assert (seg.PatientID, str(seg.PatientName)) == ("", "")
    assert str(seg.StudyDate) == str(sources[0].StudyDate)


def test_a_series_of_enhanced_single_frames_is_not_called_a_cine(labels, sources):
    for place, source in enumerate(sources):
        source.SOPClassUID = EnhancedCTImageStorage
        for keyword, groups in functional_groups([4.0 * place]).items():
            setattr(source, keyword, groups)
        del source.ImagePositionPatient, source.ImageOrientationPatient, source.PixelSpacing
    with pytest.raises(InputError, match="no segmentation of these images: Only one source image"):
        segmentation_object(labels, ["heart", "lungs"], sources, ALGORITHM)


def test_a_cine_is_refused(tmp_path):
    (source,) = headers(write_phantom_ultrasound(tmp_path, frames=3))
    with pytest.raises(InputError, match="3 frames without positions"):
        segmentation_object(np.ones((3, source.Rows, source.Columns), np.uint8), ["mass"], [source], ALGORITHM)


def test_labels_that_do_not_fit_are_a_mistake_of_the_caller(labels, sources):
    for wrong in (labels[:3], labels[..., :9], labels.astype(np.int16), labels.astype(bool)):
        with pytest.raises(ValueError, match="labels must be uint8"):
            segmentation_object(wrong, ["heart", "lungs"], sources, ALGORITHM)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.1, one a name, got 2"):
        segmentation_object(labels, ["heart"], sources, ALGORITHM)
    with pytest.raises(InputError, match="no source image"):
        segmentation_object(labels, ["heart", "lungs"], [], ALGORITHM)
