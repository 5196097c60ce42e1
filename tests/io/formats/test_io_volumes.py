"""NIfTI, NRRD and MetaImage volumes come upright, and their masks lie on their grids."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image, write_float_map, write_mask
from medclipsam_monai.io.formats.nrrd_writer import write_nrrd

COS, SIN = np.cos(0.3), np.sin(0.3)
OBLIQUE = (COS, -SIN, 0.0, SIN, COS, 0.0, 0.0, 0.0, -1.0)
VOLUME = np.arange(8 * 9 * 10, dtype=np.float32).reshape(8, 9, 10)


def test_nifti_is_shown_the_radiological_way(tmp_path: Path) -> None:
    data = np.zeros((10, 12, 8), np.float32)
    data[9, 11, 7] = 1  # in RAS order: the most right, anterior and superior voxel
    nib.save(nib.Nifti1Image(data, np.diag([2.0, 3, 4, 1])), tmp_path / "a.nii")
    image = read_image(tmp_path / "a.nii")
    assert image.shape == (1, 12, 10, 8)
    assert np.argwhere(image.numpy()[0]).tolist() == [[0, 0, 7]]  # top left: nose up, right on the left
    assert image.meta["spacing"] == (3.0, 2.0, 4.0) and image.meta["spatial"]
    coronal = read_image(tmp_path / "a.nii", slice_axis="coronal")
    assert coronal.shape == (1, 8, 10, 12) and np.argwhere(coronal.numpy()[0]).tolist() == [[0, 0, 0]]
    sagittal = read_image(tmp_path / "a.nii", slice_axis="sagittal")
    assert sagittal.shape == (1, 8, 12, 10) and np.argwhere(sagittal.numpy()[0]).tolist() == [[0, 0, 0]]


def test_nifti_numbers_are_rescaled_and_nan_stays(tmp_path: Path) -> None:
    data = VOLUME.copy()
    data[0, 0, 0], data[1, 1, 1] = np.nan, np.inf
    nib.save(nib.Nifti1Image(data, np.diag([-1.0, -1, 1, 1])), tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz").numpy()[0]
    np.testing.assert_array_equal(image, data.transpose(1, 0, 2))


@pytest.mark.parametrize(("unit", "millimetres"), [("mm", 2.0), ("micron", 0.002), ("meter", 2000.0), ("unknown", 2.0)])
def test_spacing_is_in_millimetres_whatever_the_headers_unit(tmp_path: Path, unit: str, millimetres: float) -> None:
    image = nib.Nifti1Image(VOLUME, np.diag([2.0, 2, 2, 1]))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii")
    assert read_image(tmp_path / "a.nii").meta["spacing"] == pytest.approx((millimetres,) * 3)


def test_a_real_fourth_dimension_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 8, 5), np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=r"is a 4-D image of shape \(8, 8, 8, 5\); save one 3-D image"):
        read_image(tmp_path / "a.nii.gz")


def test_colour_nifti_gives_three_channels_and_a_grey_mask(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (8, 9, 10, 3), dtype=np.uint8)
    packed = colours.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nib.save(nib.Nifti1Image(packed, np.diag([-1.0, -1, 1, 1])), tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(image.numpy(), colours.transpose(3, 1, 0, 2))
    assert image.meta["uint8"] and image.meta["original_channels"] == 3
    mask = nib.load(write_mask(image[:1] > 100, image.meta["geometry"], tmp_path / "m"))
    np.testing.assert_array_equal(np.asarray(mask.dataobj), colours[..., 0] > 100)


def test_complex_nifti_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(VOLUME.astype(np.complex64), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(InputError, match="holds complex numbers"):
        read_image(tmp_path / "a.nii")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
def test_itk_formats_come_back_on_their_own_grid(tmp_path: Path, suffix: str) -> None:
    source = sitk.GetImageFromArray(VOLUME)  # (z, y, x)
    source.SetSpacing((0.7, 0.8, 2.5))
    source.SetOrigin((-3.25, 4.5, 100.125))
    source.SetDirection(OBLIQUE)
    sitk.WriteImage(source, str(tmp_path / f"a{suffix}"))
    image = read_image(tmp_path / f"a{suffix}")
    assert image.shape == (1, 9, 10, 8)
    np.testing.assert_array_equal(image.numpy()[0, ..., ::-1], VOLUME.transpose(1, 2, 0))  # slices run down: turned up
    path = write_mask(image == 123, image.meta["geometry"], tmp_path / "m")
    mask = sitk.ReadImage(str(path))
    assert path.suffix == ".nrrd"
    np.testing.assert_array_equal(sitk.GetArrayFromImage(mask), VOLUME == 123)
    source = sitk.ReadImage(str(tmp_path / f"a{suffix}"))
    np.testing.assert_allclose(mask.GetSpacing(), source.GetSpacing(), rtol=1e-12)
    np.testing.assert_allclose(mask.GetOrigin(), source.GetOrigin(), rtol=1e-12)
    np.testing.assert_allclose(mask.GetDirection(), source.GetDirection(), atol=1e-12)


def test_a_flat_nrrd_keeps_two_dimensions(tmp_path: Path) -> None:
    source = sitk.GetImageFromArray(VOLUME[0])
    source.SetSpacing((0.5, 0.25))
    sitk.WriteImage(source, str(tmp_path / "a.nrrd"))
    image = read_image(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(image.numpy()[0], VOLUME[0])
    assert image.meta["spacing"] == (0.25, 0.5)
    saliency = sitk.ReadImage(str(write_float_map(image / 100, image.meta["geometry"], tmp_path / "s")))
    assert saliency.GetSize() == (10, 9) and saliency.GetSpacing() == (0.5, 0.25)
    np.testing.assert_allclose(sitk.GetArrayFromImage(saliency), VOLUME[0] / 100, rtol=1e-6)


def test_colour_mha_is_read_and_other_vectors_are_refused(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (9, 10, 3), dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), str(tmp_path / "rgb.mha"))
    np.testing.assert_array_equal(read_image(tmp_path / "rgb.mha").numpy(), colours.transpose(2, 0, 1))
    sitk.WriteImage(sitk.GetImageFromArray(colours.astype(np.float32), isVector=True), str(tmp_path / "field.mha"))
    with pytest.raises(InputError, match="holds 3 float32 numbers a voxel; only grey or 8-bit RGB is read"):
        read_image(tmp_path / "field.mha")


def test_a_four_dimensional_nrrd_is_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 8, 8, 8), np.uint8), isVector=False), str(tmp_path / "a.nrrd"))
    with pytest.raises(InputError, match="must be a 2-D or 3-D image"):
        read_image(tmp_path / "a.nrrd")


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_masks_and_maps_are_byte_for_byte_what_simple_itk_writes(tmp_path: Path, kind: type, dimensions: int) -> None:
    array = (VOLUME if dimensions == 3 else VOLUME[0]).astype(kind)
    source = sitk.GetImageFromArray(array)
    source.SetSpacing([0.5, 0.7, 2.5][:dimensions])
    source.SetOrigin([1.0, -2.0, 30.0][:dimensions])
    source.SetDirection([0.0, 1, 0, 1, 0, 0, 0, 0, -1] if dimensions == 3 else [0.0, 1, 1, 0])
    sitk.WriteImage(source, str(tmp_path / "theirs.nrrd"), useCompression=True, compressionLevel=6)
    geometry = read_image(tmp_path / "theirs.nrrd").meta["geometry"]
    write_nrrd(array.T, geometry, tmp_path / "ours.nrrd")
    assert (tmp_path / "ours.nrrd").read_bytes() == (tmp_path / "theirs.nrrd").read_bytes()
