"""Overlay pictures as Secondary Captures: the same pixels, the right way up, referring to their source frames."""

from __future__ import annotations

import logging

import numpy as np
import pydicom
import pytest
from dicom_checks import ALGORITHM, dciodvfy_errors, headers, needs_dciodvfy, real_series, save
from pydicom.dataset import Dataset

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.dicom_seg.secondary_capture import secondary_captures
from medclipsam_monai.phantoms.dicom import (
    OBLIQUE,
    write_phantom_ultrasound,
    write_phantom_volume,
    write_phantom_xray,
)


@pytest.fixture
def sources(tmp_path) -> list[Dataset]:
    return headers(write_phantom_volume(tmp_path / "ct", slices=3, order="shuffled"))


def pictures(count: int, source: Dataset) -> np.ndarray:
    shape = (count, int(source.Rows), int(source.Columns), 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_pictures_are_kept_and_refer_to_their_sources(sources, tmp_path):
    shown = pictures(3, sources[0])
    written = secondary_captures(shown, sources, ALGORITHM, description="lungs", series_number=77)
    back = [pydicom.dcmread(save(capture, tmp_path / f"{n}.dcm")) for n, capture in enumerate(written)]
    np.testing.assert_array_equal([capture.pixel_array for capture in back], shown)
    assert [capture.InstanceNumber for capture in back] == [1, 2, 3]
    assert len({capture.SeriesInstanceUID for capture in back}) == 1
    assert len({capture.SOPInstanceUID for capture in back}) == 3
    for capture, source in zip(back, sources, strict=True):
        (reference,) = capture.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID and "ReferencedFrameNumber" not in reference
        assert capture.StudyInstanceUID == source.StudyInstanceUID
        assert (capture.PatientID, str(capture.PatientName)) == (source.PatientID, str(source.PatientName))
        assert (capture.SeriesNumber, capture.SeriesDescription, capture.Modality) == (77, "lungs", "OT")
        assert capture.DerivationDescription == "MedCLIP-SAMv2 0.1.0, preset demo"
        assert (capture.Manufacturer, capture.ConversionType) == ("medclipsam-monai", "WSD")


def test_some_frames_only(sources):
    written = secondary_captures(pictures(2, sources[0]), sources, ALGORITHM, frames=[2, 0])
    shown = [capture.SourceImageSequence[0].ReferencedSOPInstanceUID for capture in written]
    assert shown == [sources[2].SOPInstanceUID, sources[0].SOPInstanceUID]


def test_frames_of_a_cine_are_counted_from_one(tmp_path):
    (source,) = headers(write_phantom_ultrasound(tmp_path, frames=4))
    written = secondary_captures(pictures(2, source), [source], ALGORITHM, frames=[0, 3])
    assert [capture.SourceImageSequence[0].ReferencedFrameNumber for capture in written] == [1, 4]


@pytest.mark.parametrize(
    ("directions", "expected"),
    [
        ((1, 0, 0, 0, 1, 0), ["L", "P"]),
        ((-1, 0, 0, 0, -1, 0), ["R", "A"]),
        ((1, 0, 0, 0, 0, -1), ["L", "F"]),
        ((0, -1, 0, 0, 0, 1), ["A", "H"]),
        (OBLIQUE, ["L", "P"]),
        ((0.8, 0.6, 0, -0.36, 0.48, 0.8), ["L", "H"]),
    ],
)
def test_the_orientation_is_that_of_the_source(directions, expected, sources):
    for source in sources:
        source.ImageOrientationPatient = list(directions)
    written = secondary_captures(pictures(3, sources[0]), sources, ALGORITHM)
    assert [list(capture.PatientOrientation) for capture in written] == [expected] * 3


def test_an_x_ray_is_shown_as_it_states(tmp_path):
    (source,) = headers(write_phantom_xray(tmp_path))
    (capture,) = secondary_captures(pictures(1, source), [source], ALGORITHM)
    assert capture.PatientOrientation == ["L", "F"]
    del source.PatientOrientation
    (capture,) = secondary_captures(pictures(1, source), [source], ALGORITHM)
    assert not capture.PatientOrientation


def test_burned_in_text_lossy_pixels_and_the_side_are_passed_on(tmp_path):
    (source,) = headers(write_phantom_ultrasound(tmp_path))
    source.LossyImageCompression, source.LossyImageCompressionRatio = "01", 10
    (capture,) = secondary_captures(pictures(1, source), [source], ALGORITHM)
    assert (capture.BurnedInAnnotation, capture.LossyImageCompression, capture.Laterality) == ("YES", "01", "L")
    assert capture.LossyImageCompressionRatio == 10


def test_nothing_else_of_the_patient_is_copied_or_said(sources, tmp_path, caplog, recwarn, capfd):
    caplog.set_level(logging.DEBUG)
    for source in sources:
        source.PatientName, source.PatientAge, source.PatientComments = "Nobody", "061Y", "Comment-4712"
        source.InstitutionName, source.OperatorsName, source.StudyDescription = "House-4718", "Doctor-4719", "Study-20"
    recwarn.clear()
    capture = secondary_captures(pictures(3, sources[0]), sources, ALGORITHM)[0]
    said = " ".join([caplog.text, *(str(warning.message) for warning in recwarn), *capfd.readouterr()])
    stored = save(capture, tmp_path / "sc.dcm").read_bytes()
    assert capture.PatientName == "Nobody" and "Nobody" not in said
    for value in ("061Y", "Comment-4712", "House-4718", "Doctor-4719", "Study-20"):
        assert value.encode() not in stored and value not in said


def test_what_does_not_fit_is_a_mistake_of_the_caller(sources):
    good = pictures(3, sources[0])
    for wrong in (good[:2], good[..., :2], good[:, :5], good.astype(np.uint16)):
        with pytest.raises(ValueError, match="pictures must be uint8"):
            secondary_captures(wrong, sources, ALGORITHM)
    for frames in ([0, 1, 3], [-1, 0, 1]):
        with pytest.raises(ValueError, match=r"frames must be in 0\.\.2"):
            secondary_captures(good, sources, ALGORITHM, frames=frames)


def test_sources_without_identifiers_are_refused(sources):
    del sources[1].SOPInstanceUID
    with pytest.raises(InputError, match="state no SOPInstanceUID"):
        secondary_captures(pictures(3, sources[0]), sources, ALGORITHM)


@needs_dciodvfy
@pytest.mark.parametrize("kind", ["ct", "x-ray", "ultrasound", "cine", "lossy", "ct_3slice_with_seg", "mr_head"])
def test_dciodvfy_finds_no_error_in_a_capture(kind, sources, tmp_path):
    if kind == "x-ray":
        sources = headers(write_phantom_xray(tmp_path))
    elif kind in ("ultrasound", "cine"):
        sources = headers(write_phantom_ultrasound(tmp_path, frames=2 if kind == "cine" else 1))
    elif kind == "lossy":
        for source in sources:
            source.LossyImageCompression, source.LossyImageCompressionRatio = "01", 12.5
            source.LossyImageCompressionMethod = "ISO_10918_1"
    elif kind != "ct":
        sources = real_series(kind)
    for capture in secondary_captures(pictures(1, sources[0]), sources, ALGORITHM, frames=[0]):
        assert dciodvfy_errors(save(capture, tmp_path / "sc.dcm")) == []
