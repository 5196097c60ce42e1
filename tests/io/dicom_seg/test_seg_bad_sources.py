"""Images that no DICOM SEG can refer to: one line that says what they lack."""

from __future__ import annotations

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
from medclipsam_monai.io.dicom_seg.identifiers import valid_uid
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


def test_images_without_a_frame_of_reference_get_one_of_the_object(sources, labels):
    for source in sources:
        del source.FrameOfReferenceUID
    seg = segmentation_object(labels, ["heart", "lungs"], sources, ALGORITHM)
    again = segmentation_object(labels, ["heart", "lungs"], sources, ALGORITHM)
    assert seg.FrameOfReferenceUID != again.FrameOfReferenceUID and "one of its own" in seg.ImageComments
    places = {
        tuple(group.PlanePositionSequence[0].ImagePositionPatient) for group in seg.PerFrameFunctionalGroupsSequence
    }
    assert places <= {tuple(source.ImagePositionPatient) for source in sources}


def test_a_kind_of_image_that_nobody_knows_is_referred_to_as_it_is(sources, labels):
    for source in sources:
        source.SOPClassUID = "1.2.3.4"
    seg = segmentation_object(labels, ["heart", "lungs"], sources, ALGORITHM)
    groups = seg.PerFrameFunctionalGroupsSequence
    listed = [*seg.SourceImageSequence, *seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence]
    listed += [group.DerivationImageSequence[0].SourceImageSequence[0] for group in groups]
    assert {item.ReferencedSOPClassUID for item in listed} == {"1.2.3.4"}


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


def put_raw(keyword, value, *which):
    """Against the rules of the element, which pydicom would check."""

    def change(sources):
        for index in which or range(len(sources)):
            sources[index][keyword] = DataElement(keyword, "UI", value, validation_mode=pydicom.config.IGNORE)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("FrameOfReferenceUID", 1), "no common FrameOfReferenceUID"),
        (put("FrameOfReferenceUID", "1.2.3", 2), "no common FrameOfReferenceUID"),
        (drop("ImagePositionPatient", 1), "not all of the source images state ImagePositionPatient"),
        (drop("ImageOrientationPatient"), "not all of the source images state ImageOrientationPatient"),
        (drop("PixelSpacing"), "not all of the source images state PixelSpacing"),
        (put("ImageOrientationPatient", [1, 0, 0, 0, 0, -1], 3), "differ in ImageOrientationPatient"),
        (put("PixelSpacing", [1, 2], 3), "differ in PixelSpacing"),
        (put("ImagePositionPatient", [1, 2, 3], 0, 1), "no segmentation of these images: .* duplicates"),
        (drop("ImagePositionPatient"), "4 frames without positions"),
        (put("SeriesInstanceUID", "1.2.3", 2), "one series and one size"),
        (put("NumberOfFrames", 3, 2), "single frames, or one multi-frame image"),
        (drop("SOPInstanceUID", 2), "state no SOPInstanceUID"),
        (drop("StudyInstanceUID"), "state no StudyInstanceUID"),
        (put_raw("SOPInstanceUID", "1.2.Doe^John", 2), "SOPInstanceUID of the source images must be a valid UID"),
        (put_raw("SOPClassUID", "Doe^John"), "SOPClassUID of the source images must be a valid UID"),
        (put_raw("StudyInstanceUID", "1.2." + "3" * 61), "StudyInstanceUID of the source images must be a valid UID"),
        (put_raw("SeriesInstanceUID", "1..2"), "SeriesInstanceUID of the source images must be a valid UID"),
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


def test_a_series_of_enhanced_single_frames_is_a_volume(labels, sources):
    for place, source in enumerate(sources):
        source.SOPClassUID = EnhancedCTImageStorage
        for keyword, groups in functional_groups([4.0 * place]).items():
            setattr(source, keyword, groups)
        del source.ImagePositionPatient, source.ImageOrientationPatient, source.PixelSpacing
    from highdicom.seg import Segmentation  # not there where these tests are left out

    seg = segmentation_object(labels, ["heart", "lungs"], sources, ALGORITHM)
    found = Segmentation.from_dataset(seg).get_pixels_by_source_instance([source.SOPInstanceUID for source in sources])
    np.testing.assert_array_equal(found, np.stack([labels == 1, labels == 2], axis=-1))


def test_a_frame_of_reference_that_is_no_uid_is_none(labels, sources):
    put_raw("FrameOfReferenceUID", "1.2.Doe^John")(sources)
    seg = segmentation_object(labels, ["heart", "lungs"], sources, ALGORITHM)
    assert valid_uid(seg.FrameOfReferenceUID) and "one of its own" in seg.ImageComments


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
