"""What a header states of numbers and places and what cannot be used is refused or said, and never quoted."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.io import read_image

Make = Callable[..., Any]
RAMP = np.arange(-40, 40, dtype=np.int16).reshape(8, 10)
PLACE = {
    "ImagePositionPatient": [1, 2, 3],
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "PixelSpacing": [0.5, 0.75],
    "SliceThickness": 2,
    "WindowCenter": 0,
    "WindowWidth": 40,
    "RescaleSlope": 2,
    "RescaleIntercept": -7,
}


def bad(make: Make, path: Path, keyword: str, value: bytes, kind: str) -> Path:
    """A slice with one element of other bytes, in the same or another value representation."""
    make(path, RAMP, BitsStored=16, **PLACE)
    header = pydicom.dcmread(path)
    tag = Tag(tag_for_keyword(keyword))
    value += b" " * (len(value) % 2)
    header[tag] = RawDataElement(tag, kind, len(value), value, 0, False, True)
    header.save_as(path)
    return path


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"Doe^Jane", "DS"), (b"Doe^Jane", "LO"), (b"Doe^Jane", "UN"), (b"nan", "DS"), (b"inf", "DS"), (b"1e999", "DS"),
        (b"1,5", "DS"), (b"1\\2", "DS"), (b"1\\Doe", "DS"),
    ],
)  # fmt: skip
def test_a_slope_or_intercept_that_is_no_number_is_refused(
    tmp_path: Path, make_dicom: Make, keyword: str, value: bytes, kind: str
) -> None:
    path = bad(make_dicom, tmp_path / "a.dcm", keyword, value, kind)
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert str(caught.value) == (
        f"{path}: states a {keyword} that is not one number, so its values mean nothing; mend it"
    )


def test_one_slice_or_frame_with_such_a_slope_is_refused_too(tmp_path: Path, make_series: Make) -> None:
    paths = make_series(tmp_path / "ct", np.zeros((4, 8, 10), np.int16))
    header = pydicom.dcmread(paths[2])
    header.add_new(tag_for_keyword("RescaleIntercept"), "LO", "none")
    header.save_as(paths[2])
    with pytest.raises(InputError, match=r"02\.dcm: states a RescaleIntercept that is not one number"):
        read_image(tmp_path / "ct")


@pytest.mark.parametrize(("value", "slope"), [(b"", 1), (b"1.5", 1.5), (b"-2", -2), (b"+1E0", 1)])
def test_slopes_that_are_numbers_or_empty_are_used_without_a_word(
    tmp_path: Path, make_dicom: Make, value: bytes, slope: float
) -> None:
    path = bad(make_dicom, tmp_path / "a.dcm", "RescaleSlope", value, "DS")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(read_image(path).numpy()[0], RAMP * slope - 7)


@pytest.mark.parametrize(
    ("keyword", "value", "kind"),
    [
        ("PixelRepresentation", b"\2\0", "US"),
        ("PixelRepresentation", b"\0\0\1\0", "US"),
        ("BitsStored", b"\0\0", "US"),
    ],
)
def test_bits_that_mean_nothing_are_refused(
    tmp_path: Path, make_dicom: Make, keyword: str, value: bytes, kind: str
) -> None:
    path = bad(make_dicom, tmp_path / "a.dcm", keyword, value, kind)
    with pytest.raises(InputError, match=f"a.dcm: states a {keyword} that is none; expected "):
        read_image(path)


def test_a_part_of_a_frame_is_refused(tmp_path: Path, make_dicom: Make) -> None:
    path = bad(make_dicom, tmp_path / "a.dcm", "NumberOfFrames", b"1.5", "IS")
    with pytest.raises(InputError, match=r"states a NumberOfFrames that is no whole number|not of the form"):
        read_image(path)


SAID = [
    *((keyword, b"Doe^Jane", kind) for keyword in PLACE if not keyword.startswith("Rescale") for kind in ("DS", "UN")),
    ("RescaleSlope", b"0", "DS"),
    ("PixelSpacing", b"0\\0", "DS"),
    ("PixelSpacing", b"-1\\-1", "DS"),
    ("PixelSpacing", b"0.5", "DS"),
    ("PixelSpacing", b"12", "LO"),
    ("PixelSpacing", b"0.5\\0.5\\0.5", "DS"),
    ("ImagePositionPatient", b"1\\2", "DS"),
    ("ImagePositionPatient", b"123", "LO"),
    ("ImageOrientationPatient", b"1\\0\\0\\0\\1\\nan", "DS"),
    ("SliceThickness", b"inf", "DS"),
    ("WindowCenter", b"nan", "DS"),
    ("WindowWidth", b"0", "DS"),
    ("WindowWidth", b"-40", "DS"),
    ("VOILUTFunction", b"DOE", "CS"),
    ("PhotometricInterpretation", b"DOE", "CS"),
    ("PhotometricInterpretation", b"MONOCHROME1\\DOE", "CS"),
    ("HighBit", b"\3\0", "US"),
    ("HighBit", b"\x30\0", "US"),
]


@pytest.mark.parametrize(("keyword", "value", "kind"), SAID)
def test_what_is_left_aside_is_said_and_the_numbers_stay(
    tmp_path: Path, make_dicom: Make, keyword: str, value: bytes, kind: str
) -> None:
    path = bad(make_dicom, tmp_path / "a.dcm", keyword, value, kind)
    with pytest.warns(InputWarning) as said:
        image = read_image(path)
    assert [str(one.message) for one in said] == [
        f"{path}: what its header states as {keyword} is against DICOM's rules and is left aside"
    ]
    np.testing.assert_array_equal(image.numpy()[0], RAMP * (1 if keyword == "RescaleSlope" else 2) - 7)
    if keyword == "PixelSpacing":
        assert image.meta["spacing"] is None


def test_a_table_that_is_none_is_said(tmp_path: Path, make_dicom: Make) -> None:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [3, 0, 40])
    item.add_new("LUTData", "US", [0, 1, 2])
    path = make_dicom(tmp_path / "a.dcm", RAMP, VOILUTSequence=[item])
    with pytest.warns(InputWarning, match="states as VOILUTSequence is against"):
        read_image(path)


def test_a_whole_series_is_said_once(tmp_path: Path, make_series: Make) -> None:
    make_series(tmp_path / "ct", np.zeros((5, 8, 10), np.int16), WindowCenter=0, WindowWidth=0, SliceThickness="")
    with pytest.warns(InputWarning) as said:
        read_image(tmp_path / "ct")
    assert [str(one.message).split(": ")[-1] for one in said] == [
        "what its header states as WindowWidth is against DICOM's rules and is left aside"
    ]
