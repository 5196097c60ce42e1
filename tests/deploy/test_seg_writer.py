"""DICOM SEG: what it says of its segments, its sources and what made it, and how little it says of the patient."""

from __future__ import annotations

import copy
import logging

import numpy as np
import pydicom
import pytest
from dicom_checks import (
    ALGORITHM,
    apart,
    as_labels,
    blobs,
    dciodvfy_errors,
    dice_by_dcmqi,
    dice_by_highdicom,
    headers,
    needs_dciodvfy,
    points_of,
    save,
)
from highdicom import UID
from highdicom.color import CIELabColor
from highdicom.legacy import LegacyConvertedEnhancedCTImage
from highdicom.seg import segread
from pydicom.dataset import Dataset

from medclipsam_monai.io.dicom_seg.segmentation import segmentation_object
from medclipsam_monai.phantoms.dicom import (
    OBLIQUE,
    write_phantom_ultrasound,
    write_phantom_volume,
    write_phantom_xray,
)
from medclipsam_monai.transforms.overlay import CLASS_COLOURS

SHAPE = (4, 192, 256)


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    return write_phantom_volume(tmp_path_factory.mktemp("ct"), slices=4, order="shuffled", directions=OBLIQUE)


@pytest.fixture
def sources(volume) -> list[Dataset]:
    return headers(volume)


@pytest.fixture
def masks() -> np.ndarray:
    return apart(blobs(SHAPE, seed) for seed in (0, 1))


def written(masks, classes, sources, tmp_path) -> Dataset:
    seg = segmentation_object(as_labels(masks), classes, sources, ALGORITHM)
    return pydicom.dcmread(save(seg, tmp_path / "seg.dcm"))


def read_again(sources: list[Dataset], tmp_path) -> list[Dataset]:
    """The headers as they come from files."""
    return [pydicom.dcmread(save(source, tmp_path / f"{number}.dcm")) for number, source in enumerate(sources)]


def code(sequence) -> tuple[str, str, str]:
    (item,) = sequence
    return item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning


def test_segments_are_coded_numbered_and_coloured(masks, sources, tmp_path):
    empty = np.zeros((1, *SHAPE), bool)
    seg = written(np.concatenate([empty, masks]), ["liver", "left lung nodule", "shadow"], sources, tmp_path)
    nodule, shadow = seg.SegmentSequence
    assert (nodule.SegmentNumber, nodule.SegmentLabel) == (1, "left lung nodule")
    assert (shadow.SegmentNumber, shadow.SegmentLabel) == (2, "shadow")
    lesion = ("49755003", "SCT", "Morphologically Abnormal Structure")
    assert code(nodule.SegmentedPropertyCategoryCodeSequence) == lesion
    (kind,) = nodule.SegmentedPropertyTypeCodeSequence
    assert code([kind]) == ("27925004", "SCT", "Nodule")
    assert code(kind.SegmentedPropertyTypeModifierCodeSequence) == ("7771000", "SCT", "Left")
    assert code(nodule.AnatomicRegionSequence) == ("39607008", "SCT", "Lung")
    assert code(shadow.SegmentedPropertyTypeCodeSequence)[1:] == ("99MEDCLIPSAM", "shadow")
    assert seg.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99MEDCLIPSAM"
    for number, segment in zip((1, 2), seg.SegmentSequence, strict=True):  # the class's colour, as in the overlay
        assert segment.RecommendedDisplayCIELabValue == list(CIELabColor.from_rgb(*CLASS_COLOURS[number]).value)
    assert (seg.SegmentationType, seg.SegmentsOverlap, seg.BitsAllocated) == ("BINARY", "NO", 1)


def test_what_made_it_is_stated(masks, sources, tmp_path):
    seg = written(masks, ["heart", "lungs"], sources, tmp_path)
    assert "CodingSchemeIdentificationSequence" not in seg, "no private code, no private scheme"
    for segment in seg.SegmentSequence:
        (made_by,) = segment.SegmentationAlgorithmIdentificationSequence
        assert (made_by.AlgorithmName, made_by.AlgorithmVersion) == ("MedCLIP-SAMv2", "0.1.0")
        assert code(made_by.AlgorithmFamilyCodeSequence)[2] == "Artificial Intelligence"
        expected = f"preset=demo,sha256 clip={'c' * 64},sha256 sam={'5' * 64}"
        assert made_by.AlgorithmParameters == expected
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
    assert (seg.Manufacturer, seg.SoftwareVersions, seg.SeriesNumber) == ("medclipsam-monai", "0.1.0", 9000)


def test_every_frame_refers_to_its_source(masks, sources, tmp_path):
    written(masks, ["heart", "lungs"], sources, tmp_path)
    seg = segread(tmp_path / "seg.dcm")
    found = seg.get_pixels_by_source_instance([source.SOPInstanceUID for source in sources])
    np.testing.assert_array_equal(found.transpose(3, 0, 1, 2), masks)
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == sources[0].SeriesInstanceUID
    listed = {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence}
    assert listed == {source.SOPInstanceUID for source in sources}
    assert seg.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
    assert seg.StudyInstanceUID == sources[0].StudyInstanceUID


def test_frames_without_a_segment_are_left_out(masks, sources, tmp_path):
    masks[0, [0, 2]] = False
    seg = written(masks, ["heart", "lungs"], sources, tmp_path)
    numbers = [
        group.SegmentIdentificationSequence[0].ReferencedSegmentNumber for group in seg.PerFrameFunctionalGroupsSequence
    ]
    assert numbers == [1] * 2 + [2] * 4


def test_no_voxel_no_object(sources):
    assert segmentation_object(np.zeros(SHAPE, np.uint8), ["heart", "lungs"], sources, ALGORITHM) is None


PRIVATE = {
    "PatientName": "Nobody",  # without "^" highdicom would warn, and print the name
    "PatientID": "ID-4711",
    "PatientAge": "061Y",
    "PatientComments": "Comment-4712",
    "OtherPatientIDs": "Other-4713",
    "PatientAddress": "Street-4714",
    "AdmittingDiagnosesDescription": "Diagnosis-4715",
    "AdditionalPatientHistory": "History-4716",
    "StudyDescription": "Study-4717",
    "InstitutionName": "House-4718",
    "OperatorsName": "Operator-4719",
    "PhysiciansOfRecord": "Doctor-4720",
    "DeviceSerialNumber": "Serial-4721",
    "AccessionNumber": "ACC-4722",
}
REQUIRED = {"PatientName", "PatientID", "AccessionNumber"}


def test_of_the_patient_only_what_dicom_requires_is_copied(masks, sources, tmp_path):
    for source in sources:
        for keyword, value in PRIVATE.items():
            setattr(source, keyword, value)
    seg = written(masks, ["heart", "lungs"], sources, tmp_path)
    stored = (tmp_path / "seg.dcm").read_bytes()
    for keyword, value in PRIVATE.items():
        assert (value.encode() in stored) == (keyword in REQUIRED), keyword
    assert (seg.PatientSex, seg.PatientBirthDate, seg.StudyDate, seg.StudyTime) == ("O", "", "20240102", "030405")


def test_nothing_of_the_patient_is_warned_or_logged(masks, sources, tmp_path, caplog, recwarn, capfd):
    caplog.set_level(logging.DEBUG)
    wrong = {"PatientBirthDate": "not-a-date", "PatientSex": "unknown", "StudyInstanceUID": "1.02.4723"}
    for source in sources:
        with pydicom.config.disable_value_validation():
            for keyword, value in {**PRIVATE, **wrong}.items():
                setattr(source, keyword, value)
    sources = read_again(sources, tmp_path)  # pydicom looks at values when they are asked for
    recwarn.clear()
    seg = segmentation_object(as_labels(masks), ["heart", "lungs"], sources, ALGORITHM)
    said = " ".join([caplog.text, *(str(warning.message) for warning in recwarn), *capfd.readouterr()])
    assert [value for value in (*PRIVATE.values(), *wrong.values()) if value in said] == []
    assert (seg.PatientName, seg.PatientBirthDate, seg.PatientSex) == ("Nobody", "", ""), "what is not valid is empty"


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "Łuczak^Żaneta"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
    ],
)
def test_names_keep_their_letters(charset, name, masks, sources, tmp_path):
    for source in sources:
        source.SpecificCharacterSet, source.PatientName = charset, name
    seg = written(masks, ["Wirbelkörper", "lungs"], read_again(sources, tmp_path), tmp_path)
    assert str(seg.PatientName) == name
    assert seg.SegmentSequence[0].SegmentLabel == "Wirbelkörper"


def test_identifiers_and_patients_elements_that_are_missing_or_wrong_do_not_stop_it(masks, sources, tmp_path):
    for number, source in enumerate(sources):
        for keyword in ("PatientBirthDate", "StudyID", "AccessionNumber", "ReferringPhysicianName", "SliceThickness"):
            delattr(source, keyword)
        source.PatientID = None
        with pydicom.config.disable_value_validation():
            source.SOPInstanceUID = f"1.2.03.{number}"  # a leading zero, seen in the wild
    seg = written(masks, ["heart", "lungs"], sources, tmp_path)
    assert (seg.PatientID, seg.StudyID) == ("", "")
    assert {item.ReferencedSOPInstanceUID for item in seg.SourceImageSequence} == {f"1.2.03.{n}" for n in range(4)}
    for segment, mask in enumerate(masks, start=1):
        assert dice_by_dcmqi(tmp_path / "seg.dcm", segment, points_of(mask, sources)) == 1.0


@pytest.fixture(scope="module")
def enhanced(volume) -> tuple[Dataset, list[int]]:
    """The series as one multi-frame object, and which file each frame was."""
    files = [pydicom.dcmread(path) for path in volume.files]
    image = LegacyConvertedEnhancedCTImage(files, UID(), 1, UID(), 1)
    positions = [
        group.PlanePositionSequence[0].ImagePositionPatient for group in image.PerFrameFunctionalGroupsSequence
    ]
    return image, [[file.ImagePositionPatient for file in files].index(position) for position in positions]


@pytest.mark.parametrize("layout", ["shared", "per frame"])
def test_a_multi_frame_image_keeps_the_order_of_its_frames(layout, enhanced, volume, masks, tmp_path):
    image, order = copy.deepcopy(enhanced)
    if layout == "per frame":  # as some scanners write orientation and spacing
        (shared,) = image.SharedFunctionalGroupsSequence
        for group in image.PerFrameFunctionalGroupsSequence:
            group.PlaneOrientationSequence = shared.PlaneOrientationSequence
            group.PixelMeasuresSequence = shared.PixelMeasuresSequence
        del shared.PlaneOrientationSequence, shared.PixelMeasuresSequence
    assert order != sorted(order)
    seg = written(masks[:, order], ["heart", "lungs"], [image], tmp_path)
    frames = [
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        for group in seg.PerFrameFunctionalGroupsSequence
    ]
    assert sorted(frames) == [1, 1, 2, 2, 3, 3, 4, 4]
    for segment, mask in enumerate(masks, start=1):
        points = points_of(mask, headers(volume))
        assert dice_by_highdicom(tmp_path / "seg.dcm", segment, points) == 1.0
        assert dice_by_dcmqi(tmp_path / "seg.dcm", segment, points) == 1.0


@pytest.mark.parametrize("write", [write_phantom_xray, write_phantom_ultrasound], ids=["x-ray", "ultrasound"])
def test_an_image_without_a_frame_of_reference_has_a_segmentation_of_its_pixels(write, tmp_path):
    series = write(tmp_path)
    sources = headers(series)
    masks = apart(series.masks.values())
    seg = written(masks, list(series.masks), sources, tmp_path)
    assert "FrameOfReferenceUID" not in seg and seg.PatientOrientation == sources[0].PatientOrientation
    found = segread(tmp_path / "seg.dcm").get_pixels_by_source_instance([sources[0].SOPInstanceUID])
    np.testing.assert_array_equal(found.transpose(3, 0, 1, 2), masks)
    by_pydicom = seg.pixel_array.reshape(masks.shape)  # one frame a segment
    np.testing.assert_array_equal(by_pydicom, masks)


@needs_dciodvfy
@pytest.mark.parametrize(
    "kind", ["volume", "slice", "no thickness", "bare slice", "enhanced", "x-ray", "ultrasound", "lossy"]
)
def test_dciodvfy_finds_no_error(kind, volume, enhanced, tmp_path):
    sources, shape = headers(volume), SHAPE
    if kind == "slice":
        sources, shape = sources[:1], (1, *SHAPE[1:])
    elif kind == "bare slice":
        sources, shape = sources[:1], (1, *SHAPE[1:])
        del sources[0].SliceThickness
    elif kind == "no thickness":
        for source in sources:
            source.SliceThickness = None if source is sources[1] else 0
    elif kind == "enhanced":
        sources = [copy.deepcopy(enhanced[0])]
    elif kind in ("x-ray", "ultrasound"):
        write = write_phantom_xray if kind == "x-ray" else write_phantom_ultrasound
        sources, shape = headers(write(tmp_path)), (1, 256, 256)
    elif kind == "lossy":
        for source in sources:
            source.LossyImageCompression, source.LossyImageCompressionRatio = "01", 12.5
            source.LossyImageCompressionMethod = "ISO_10918_1"
    masks = apart(blobs(shape, seed) for seed in range(4))
    names = ["malignant breast tumour", "lungs", "pacemaker", "something described"]
    seg = segmentation_object(as_labels(masks), names, sources, ALGORITHM)
    assert seg.LossyImageCompression == ("01" if kind == "lossy" else "00")
    assert dciodvfy_errors(save(seg, tmp_path / "seg.dcm")) == []
