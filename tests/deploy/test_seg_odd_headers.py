"""Names and identifiers at the edge of the rules, as they are met in the wild: what a SEG makes of them."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_checks import ALGORITHM, blobs, by_dcmqi, dciodvfy_errors, headers, needs_dciodvfy, save
from highdicom.seg import segread
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from medclipsam_monai.io.dicom_seg.segmentation import segmentation_object
from medclipsam_monai.phantoms.dicom import write_phantom_volume

UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID")


def sources_of(folder, **values: str) -> list[Dataset]:
    """Headers of a series with other values, which pydicom would not set without a word."""
    found = headers(write_phantom_volume(folder, slices=3))
    for number, header in enumerate(found):
        for keyword, value in values.items():
            kind, text = header.data_element(keyword).VR, f"{value}.{number}" if keyword.startswith("SOP") else value
            header[keyword] = DataElement(keyword, kind, text, validation_mode=pydicom.config.IGNORE)
    return found


def written(sources: list[Dataset], names: list[str], path):
    """A SEG of one class after the other, and the labels in it."""
    labels = blobs((3, int(sources[0].Rows), int(sources[0].Columns))).astype(np.uint8)
    if len(names) > 1:
        labels[:, ::2] *= 2
    return save(segmentation_object(labels, names, sources, ALGORITHM), path), labels


@pytest.mark.parametrize("keyword", UIDS)
@pytest.mark.parametrize("value", ["1.2.03.4", "1.2.840.00.17"])
def test_leading_zeros_of_a_uid_are_kept_and_every_reader_opens_the_seg(keyword, value, tmp_path):
    sources = sources_of(tmp_path / "series", **{keyword: value})
    path, labels = written(sources, ["lungs"], tmp_path / "seg.dcm")
    seg = segread(path)
    uids = [source.SOPInstanceUID for source in sources]
    np.testing.assert_array_equal(seg.get_pixels_by_source_instance(uids)[..., 0], labels)
    stated = uids[0] if keyword.startswith("SOP") else seg.get(keyword)
    if keyword == "SeriesInstanceUID":
        stated = seg.ReferencedSeriesSequence[0].SeriesInstanceUID
    assert stated.startswith(value)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(by_dcmqi(path, 1)) > 0, labels == 1)


@needs_dciodvfy
@pytest.mark.parametrize("keyword", UIDS)
def test_dciodvfy_blames_the_source_s_leading_zeros_and_nothing_else(keyword, tmp_path):
    path, _ = written(sources_of(tmp_path / "series", **{keyword: "1.2.03.4"}), ["lungs"], tmp_path / "seg.dcm")
    errors = [error for error in dciodvfy_errors(path) if "contains invalid data values" not in error]
    assert errors and [error for error in errors if "Leading zeroes in embedded numeric" not in error] == []


@pytest.mark.parametrize(
    "name",
    ["\u00e9" * 64, "\u80ba" * 64, "x" * 63 + "\u00e9", "левое лёгкое " * 4 + "и сердце", "\U0001f9e0 of something"],
)
def test_names_of_64_characters_are_kept_in_any_script(name, tmp_path):
    """The standard counts characters (PS3.5 6.2); dciodvfy counts bytes, and is not asked."""
    path, labels = written(sources_of(tmp_path / "series"), [name, "heart"], tmp_path / "seg.dcm")
    seg = segread(path)
    assert [seg.get_segment_description(number).SegmentLabel for number in (1, 2)] == [name, "heart"]
    assert seg.get_segment_description(1).SegmentedPropertyTypeCodeSequence[0].CodeMeaning == name
    for segment in (1, 2):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(by_dcmqi(path, segment)) > 0, labels == segment)


@needs_dciodvfy
@pytest.mark.parametrize("name", ["Doe^Jane^^^^", "A^B^C^D^E^F", "Doe^Jane=X^Y^Z^1^2^3"])
@pytest.mark.parametrize("keyword", ["PatientName", "ReferringPhysicianName"])
def test_a_name_of_too_many_parts_is_left_empty(keyword, name, tmp_path):
    parts = max(group.count("^") + 1 for group in name.split("="))
    sources = headers(write_phantom_volume(tmp_path / "series", slices=3))
    for source in sources:
        setattr(source, keyword, name)
    path, _ = written(sources, ["lungs"], tmp_path / "seg.dcm")
    assert dciodvfy_errors(path) == []
    assert pydicom.dcmread(path).get(keyword) == ("" if parts > 5 else name)
