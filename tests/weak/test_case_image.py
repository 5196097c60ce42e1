"""What nnU-Net is fed: equal to what its own readers give for the files, and the way back to the input's own array."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_files import write_dicom, write_series
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from PIL import Image

from medclipsam_monai.io import write_mask
from medclipsam_monai.weak.nnunet.case_image import read_case_image

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 256, (12, 20), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
ROTATED = np.array([[0, 0, 3.0, 5], [-1.5, 0, 0, 6], [0, 2.0, 0, 7], [0, 0, 0, 1]])
SHEARED = np.array([[1, 0, 0.4, 0], [0, 1, 0, 0], [0, 0, 2.0, 0], [0, 0, 0, 1]])


def volume_file(path: Path, affine: np.ndarray, shape: tuple[int, ...] = (16, 10, 12)) -> Path:
    nib.save(nib.Nifti1Image(RNG.integers(-1000, 1000, shape).astype(np.int16), affine), path)
    return path


@pytest.mark.parametrize(
    ("pixels", "suffix", "channels"),
    [(GREY, ".png", 1), (COLOUR, ".png", 3), (np.stack([GREY] * 3, -1), ".png", 1), (GREY, ".jpg", 1)],
)
def test_a_picture_is_grey_or_rgb_for_what_it_truly_is(tmp_path, pixels, suffix, channels):
    Image.fromarray(pixels).save(tmp_path / f"p{suffix}")
    stored = np.asarray(Image.open(tmp_path / f"p{suffix}")).reshape(12, 20, -1)[..., :channels]
    case = read_case_image(tmp_path / f"p{suffix}")
    assert (case.channels, case.suffix, case.is_volume) == (channels, ".png", False)
    np.testing.assert_array_equal(case.array, np.moveaxis(stored, -1, 0))
    files = case.write(tmp_path / "out", "case_0001")
    assert [file.name for file in files] == ["case_0001_0000.png"]
    array, properties = NaturalImage2DIO().read_images(files)
    fed, own = case.for_nnunet()
    np.testing.assert_array_equal(fed, array)
    assert own == {"spacing": list(properties["spacing"])}


@pytest.mark.parametrize("affine", [np.diag([1.5, 2.0, 3.0, 1]), ROTATED, SHEARED], ids=["plain", "rotated", "sheared"])
def test_a_volume_keeps_its_numbers_and_stands_upright(tmp_path, affine):
    path = volume_file(tmp_path / "v.nii.gz", affine)
    case = read_case_image(path)
    files = case.write(tmp_path / "out", "case_0001")
    array, properties = SimpleITKIO().read_images(files)
    fed, own = case.for_nnunet()
    np.testing.assert_array_equal(fed, array)
    np.testing.assert_allclose(own["spacing"], properties["spacing"], rtol=1e-6)
    assert sorted(np.unique(array)) == sorted(np.unique(nib.load(path).get_fdata()))
    labels = (case.array[0] > 0).astype(np.uint8)
    label_array, _ = SimpleITKIO().read_seg(case.write_labels(labels, tmp_path / "out", "case_0001"))
    np.testing.assert_array_equal(case.upright(label_array)[0], labels)
    mask = write_mask(case.upright(label_array)[0], case.geometry, tmp_path / "back")
    np.testing.assert_array_equal(nib.load(mask).get_fdata() > 0, nib.load(path).get_fdata() > 0)


def test_volumes_of_one_patient_stored_in_two_orders_look_the_same(tmp_path):
    volume_file(tmp_path / "a.nii.gz", np.diag([1.5, 2.0, 3.0, 1]))
    stored = nib.load(tmp_path / "a.nii.gz")
    other = stored.as_reoriented(nib.orientations.axcodes2ornt("LSP"))
    nib.save(other, tmp_path / "b.nii.gz")
    first, second = (read_case_image(tmp_path / name) for name in ("a.nii.gz", "b.nii.gz"))
    np.testing.assert_array_equal(first.array, second.array)
    assert first.spacing == second.spacing == (3.0, 2.0, 1.5)


def test_a_flat_nifti_is_a_picture_and_its_mask_goes_home(tmp_path):
    path = volume_file(tmp_path / "slice.nii.gz", np.eye(4), (16, 10, 1))
    case = read_case_image(path, window="full")
    assert (case.is_volume, case.array.shape, case.array.dtype) == (False, (1, 10, 16), np.uint8)
    assert (case.array.min(), case.array.max()) == (0, 255)
    mask = write_mask(case.array[0] > 127, case.geometry, tmp_path / "back")
    values = nib.load(path).get_fdata()
    middle = (values.min() + values.max()) / 2
    np.testing.assert_array_equal(nib.load(mask).get_fdata() > 0, values > middle)


def test_channels_are_what_a_network_was_trained_on(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "c.png")
    Image.fromarray(GREY).save(tmp_path / "g.png")
    grey = read_case_image(tmp_path / "c.png", channels=1).array[0]
    assert np.abs(grey.astype(int) - np.asarray(Image.fromarray(COLOUR).convert("L"))).max() <= 1
    rgb = read_case_image(tmp_path / "g.png", channels=3).array
    assert rgb.shape == (3, 12, 20) and (rgb == GREY).all()
    with pytest.raises(ValueError, match="channels must be 1 or 3, got 2"):
        read_case_image(tmp_path / "g.png", channels=2)


def test_what_is_no_number_in_a_volume_becomes_the_least(tmp_path):
    values = RNG.normal(size=(10, 10, 4)).astype(np.float32)
    values[0, 0, :3] = np.nan, np.inf, -np.inf
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "v.nii.gz")
    array = read_case_image(tmp_path / "v.nii.gz").array
    finite = values[np.isfinite(values)]
    assert array.dtype == np.float32 and (array.min(), array.max()) == (finite.min(), finite.max())


def test_a_dicom_series_becomes_one_volume_and_a_dicom_slice_a_picture(tmp_path):
    files = write_series(tmp_path / "series", RNG.integers(0, 400, (4, 12, 10)).astype(np.int16))
    case = read_case_image(tmp_path / "series")
    assert case.array.shape == (1, 12, 10, 4) and case.spacing == (2.0, 0.5, 0.75)
    assert read_case_image(files[0]).array.shape == (1, 12, 10)
    ultrasound = write_dicom(tmp_path / "us.dcm", COLOUR, colour=True)
    np.testing.assert_array_equal(read_case_image(ultrasound).array, np.moveaxis(COLOUR, -1, 0))
