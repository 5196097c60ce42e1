"""Whatever is wrong with a file, the user sees one line with its name, and nothing of the libraries."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pydicom.uid
import pytest
import SimpleITK as sitk
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image
from medclipsam_monai.io.dicom.saving import save_dicom

NOISE = np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)
FORMATS = ["a.png", "a.jpg", "a.tif", "a.bmp", "a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.dcm", "rle.dcm"]


def refusal(path: Path) -> str:
    """The one line that reading ``path`` gives; any warning would fail."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError) as caught:
            read_image(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message) < len(str(path)) + 250
    return message.removeprefix(str(path))


@pytest.fixture
def write(tmp_path: Path, make_dicom: Callable[..., Path]) -> Callable[[str, np.ndarray], Path]:
    """Writes an array in the format that a file name says."""

    def write_as(name: str, pixels: np.ndarray) -> Path:
        path = tmp_path / name
        if ".nii" in name:
            nib.save(nib.Nifti1Image(pixels, np.eye(4)), path)
        elif path.suffix in (".nrrd", ".mha"):
            sitk.WriteImage(sitk.GetImageFromArray(pixels), str(path))
        elif path.suffix == ".dcm":
            make_dicom(path, pixels)
            if name.startswith("rle"):
                header = pydicom.dcmread(path)
                header.compress(pydicom.uid.RLELossless)
                header.save_as(path)
        else:
            Image.fromarray(pixels).save(path)
        return path

    return write_as


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.9])
def test_a_file_cut_short_is_one_line(
    write: Callable[..., Path], capfd: pytest.CaptureFixture[str], name: str, kept: float
) -> None:
    path = write(name, NOISE)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    assert refusal(path).startswith((": cannot be read as", ": is not a picture"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_file_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert refusal(tmp_path / name) == ": is empty (0 bytes)"


@pytest.mark.parametrize("name", FORMATS)
def test_text_under_an_images_name_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / name).write_text("this is not an image\n" * 30)
    refusal(tmp_path / name)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_bytes_give_an_image_or_one_line(
    write: Callable[..., Path], capfd: pytest.CaptureFixture[str], name: str
) -> None:
    path = write(name, NOISE)
    sound = path.read_bytes()
    rng = np.random.default_rng(3)
    for _ in range(25):
        data = np.frombuffer(sound, np.uint8).copy()
        places = rng.integers(0, min(len(data), 700), 8)
        data[places] = rng.integers(0, 256, 8)
        path.write_bytes(data.tobytes())
        try:
            assert read_image(path).ndim >= 3
        except InputError as error:
            assert "\n" not in str(error)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", FORMATS[:-1])
@pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (2000, 3), (7, 7)])
def test_sides_under_eight_pixels_are_refused(write: Callable[..., Path], name: str, shape: tuple[int, int]) -> None:
    message = refusal(write(name, np.ones(shape, np.uint8)))
    sides = {f"{shape[0]} x {shape[1]}", f"{shape[1]} x {shape[0]}"}  # NIfTI's first axis runs along columns
    assert any(message.startswith(f": is {side} pixels") for side in sides)
    assert message.endswith("each side must have at least 8")


def test_eight_pixels_are_enough(write: Callable[..., Path]) -> None:
    assert read_image(write("a.png", np.ones((8, 2000), np.uint8))).shape == (1, 8, 2000)


def test_a_thin_volume_says_that_another_axis_may_do(write: Callable[..., Path]) -> None:
    path = write("a.nii", np.ones((20, 20, 4), np.float32))
    with pytest.raises(InputError, match=r"is 4 x 20 pixels \(rows x columns\).*; try another slice axis"):
        read_image(path, slice_axis="coronal")
    assert read_image(path).shape == (1, 20, 20, 4)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["a.nii", "a.nrrd", "a.tif"])
def test_an_image_without_a_finite_number_is_refused(write: Callable[..., Path], name: str, value: float) -> None:
    assert "holds no finite number" in refusal(write(name, np.full((9, 9), value, np.float32)))


def test_missing_and_unsupported_files(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.png") == ": no such file or folder"
    (tmp_path / "notes.txt").write_text("x")
    assert refusal(tmp_path / "notes.txt").startswith(": is not a supported image; supported are .png .jpg")
    (tmp_path / "folder").mkdir()
    assert refusal(tmp_path / "folder").startswith(": no image in this folder; looked for .png .jpg")


def test_a_header_without_its_pixels(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(NOISE), str(tmp_path / "a.mhd"))
    (tmp_path / "a.raw").unlink()
    assert "cannot be read" in refusal(tmp_path / "a.mhd")
    header = pydicom.Dataset()
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = pydicom.uid.BasicTextSRStorage
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = "1.2.3"
    save_dicom(header, tmp_path / "report.dcm")
    assert refusal(tmp_path / "report.dcm") == ": is a DICOM Basic Text SR Storage, not an image to segment"
