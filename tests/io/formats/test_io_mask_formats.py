"""Masks open in ITK and nibabel at the same place, and carry the names of their classes."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from medclipsam_monai.base.colours import CLASS_COLOURS
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import (
    Geometry,
    acquired_slices,
    drawn_evenly,
    even_grid,
    read_image,
    restore_geometry,
    write_float_map,
    write_label_descriptions,
    write_mask,
)
from medclipsam_monai.io.formats.stored import StoredImage
from medclipsam_monai.io.geometry import make_geometry, to_display

LABELS = np.random.default_rng(0).integers(0, 3, (8, 9, 4), dtype=np.uint8)  # in the file's order x, y, z
TO_LPS = np.diag([-1.0, -1, 1])


def dicom_geometry(affine: np.ndarray, positions: tuple[float, ...] | None = None) -> Geometry:
    """The geometry of a series with the grid of LABELS."""
    stored = StoredImage(LABELS[..., None], "dicom", affine=affine, slice_positions=positions)
    return make_geometry(stored, "axial", "a series")


def upright(geometry: Geometry) -> np.ndarray:
    """LABELS as a person sees them."""
    turned = nib.apply_orientation(LABELS, np.array(geometry.orientation))
    np.testing.assert_array_equal(restore_geometry(turned, geometry), LABELS)
    return turned


def sheared(shift: float) -> np.ndarray:
    """A CT whose slices of 5 mm are each ``shift`` mm further back, as a tilted gantry gives them."""
    return np.array([[-0.5, 0, 0, 50], [0, -0.75, -shift, 60], [0, 0, 5, 100], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("shift", [1e-7, 1e-4, 0.002, 0.02, 1.5, -2.5])
def test_a_mask_of_a_tilted_gantry_opens_in_itk_and_keeps_its_place(tmp_path: Path, shift: float) -> None:
    geometry = dicom_geometry(sheared(shift))
    path = write_mask(upright(geometry), geometry, tmp_path / "m")
    seen, stored = sitk.ReadImage(str(path)), nib.load(path)
    np.testing.assert_allclose(seen.GetDirection(), np.eye(3).ravel(), atol=1e-6)
    np.testing.assert_allclose(seen.GetSpacing(), [0.5, 0.75, np.hypot(5, shift)], rtol=1e-6)
    np.testing.assert_allclose(seen.GetOrigin(), [-50, -60, 100], rtol=1e-6)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(seen), LABELS.T)
    exact = sheared(0 if abs(shift) < 0.01 else shift)  # less moves no voxel by a tenth of its size: rounding
    np.testing.assert_allclose(stored.affine, exact, atol=1e-5)
    assert (stored.header["sform_code"], stored.header["qform_code"]) == (1, 1)


def test_a_mask_of_an_oblique_series_lies_alike_in_itk_and_nibabel(tmp_path: Path) -> None:
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * [0.5, 0.75, 5], [10, -20, 30]
    geometry = dicom_geometry(affine)
    path = write_mask(upright(geometry), geometry, tmp_path / "m")
    seen, voxel = sitk.ReadImage(str(path)), (7, 5, 2)
    np.testing.assert_allclose(nib.load(path).affine, affine, atol=1e-5)
    np.testing.assert_allclose(
        TO_LPS @ seen.TransformIndexToPhysicalPoint(voxel), (affine @ [*voxel, 1])[:3], atol=1e-4
    )


def nifti_mask(tmp_path: Path, edit: object) -> Path:
    """The mask of a NIfTI file whose header ``edit`` has changed."""
    image = nib.Nifti1Image(LABELS, sheared(0))
    edit(image.header)  # type: ignore[operator]
    nib.save(nib.Nifti1Image(LABELS, None, image.header), tmp_path / "in.nii")
    shown = read_image(tmp_path / "in.nii")
    np.testing.assert_array_equal(restore_geometry(shown, shown.meta["geometry"]), LABELS)
    return write_mask(shown, shown.meta["geometry"], tmp_path / "m")


def test_a_nifti_with_a_shear_gets_the_qform_that_itk_needs(tmp_path: Path) -> None:
    def edit(header: nib.Nifti1Header) -> None:
        header.set_sform(sheared(1.5), code=2)
        header.set_qform(None, code=0)

    path = nifti_mask(tmp_path, edit)
    with pytest.raises(RuntimeError, match="No orthonormal definition found"):
        sitk.ReadImage(str(tmp_path / "in.nii"))
    np.testing.assert_allclose(nib.load(path).affine, sheared(1.5), atol=1e-5)
    seen = sitk.ReadImage(str(path))
    np.testing.assert_allclose(seen.GetSpacing(), [0.5, 0.75, np.hypot(5, 1.5)], rtol=1e-6)
    np.testing.assert_allclose(seen.GetOrigin(), [-50, -60, 100], rtol=1e-6)


def test_a_nifti_with_a_shear_and_a_qform_keeps_both(tmp_path: Path) -> None:
    other = np.diag([1.0, 2, 3, 1])

    def edit(header: nib.Nifti1Header) -> None:
        header.set_qform(other, code=1)
        header.set_sform(sheared(1.5), code=2)

    path = nifti_mask(tmp_path, edit)
    seen, source = sitk.ReadImage(str(path)), sitk.ReadImage(str(tmp_path / "in.nii"))
    assert seen.GetDirection() == source.GetDirection() and seen.GetOrigin() == source.GetOrigin()
    np.testing.assert_allclose(nib.load(path).get_qform(), other, atol=1e-6)
    np.testing.assert_allclose(nib.load(path).get_sform(), sheared(1.5), atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_pixdim_that_is_no_number_is_mended_where_the_sform_is_right(tmp_path: Path, value: float) -> None:
    def edit(header: nib.Nifti1Header) -> None:
        header.set_sform(sheared(0), code=2)
        header.set_qform(None, code=0)
        header["pixdim"][1] = value

    path = nifti_mask(tmp_path, edit)
    np.testing.assert_allclose(nib.load(path).affine, sheared(0), atol=1e-5)
    np.testing.assert_allclose(nib.load(path).header["pixdim"][1:4], [0.5, 0.75, 5], rtol=1e-6)
    np.testing.assert_allclose(sitk.ReadImage(str(path)).GetSpacing(), [0.5, 0.75, 5], rtol=1e-6)


@pytest.mark.parametrize("quaternion", [(9, 9, 9), (np.nan, 0, 0)])
def test_a_qform_that_is_none_is_mended_where_the_sform_is_right(
    tmp_path: Path, quaternion: tuple[float, float, float]
) -> None:
    def edit(header: nib.Nifti1Header) -> None:
        header.set_sform(sheared(0), code=2)
        header["qform_code"] = 1
        header["quatern_b"], header["quatern_c"], header["quatern_d"] = quaternion

    path = nifti_mask(tmp_path, edit)
    np.testing.assert_allclose(nib.load(path).get_qform(), sheared(0), atol=1e-5)
    np.testing.assert_allclose(sitk.ReadImage(str(path)).GetDirection(), np.eye(3).ravel(), atol=1e-6)


POSITIONS = (0.0, 2.0, 7.0, 9.1)


@pytest.mark.parametrize("has_qform", [True, False])
def test_a_flat_nifti_whose_sform_has_no_slice_direction_gets_its_normal(tmp_path: Path, has_qform: bool) -> None:
    image = nib.Nifti1Image(LABELS[..., 0].astype(np.int16), np.eye(4))
    image.set_sform([[-2, 0, 0, 10], [0, -3, 0, 20], [0, 0, 0, 30], [0, 0, 0, 1]], code="scanner")
    image.set_qform(np.diag([-2.0, -3, 1, 1]) if has_qform else None, code="scanner" if has_qform else "unknown")
    nib.save(image, tmp_path / "flat.nii")
    read = read_image(tmp_path / "flat.nii")
    turned = nib.apply_orientation(LABELS[..., :1], np.array(read.meta["geometry"].orientation))[..., 0]
    seen = sitk.ReadImage(str(write_mask(turned, read.meta["geometry"], tmp_path / "m")))
    assert seen.GetSpacing()[:2] == (2, 3) and seen.GetOrigin()[:2] == (-10, -20)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(seen).squeeze(), LABELS[..., 0].T)
    assert np.linalg.det(nib.load(tmp_path / "m.nii.gz").affine[:3, :3]) != 0


@pytest.mark.parametrize("upside_down", [False, True])
def test_uneven_slices_are_laid_on_an_even_grid(tmp_path: Path, upside_down: bool) -> None:
    affine = sheared(0)
    affine[2, 2] = -3.0 if upside_down else 3.0
    geometry = dicom_geometry(affine, POSITIONS)
    path = write_mask(upright(geometry), geometry, tmp_path / "m")
    stored = nib.load(path)
    expected = [0, 1, 1, 2, 2, 3]  # the nearest to 0, 2, 4, 6, 8 and 10 mm
    np.testing.assert_array_equal(np.asarray(stored.dataobj), LABELS[:, :, expected])
    np.testing.assert_allclose(np.linalg.norm(stored.affine[:3, :3], axis=0), [0.5, 0.75, 2.0])
    np.testing.assert_allclose(stored.affine[:3, 3], affine[:3, 3])
    assert np.sign(stored.affine[2, 2]) == np.sign(affine[2, 2])
    assert str(even_grid(geometry)) == (
        "slices are 2.00 to 5.00 mm apart; the mask is laid on an even grid of 2.00 mm (6 slices)"
    )
    saliency = write_float_map(upright(geometry) / 4, geometry, tmp_path / "s")
    np.testing.assert_array_equal(np.asarray(nib.load(saliency).dataobj), LABELS[:, :, expected] / np.float32(4))
    back = acquired_slices(read_image(path, "axial")[0].numpy(), geometry)
    np.testing.assert_array_equal(back, upright(geometry))
    seen = sitk.ReadImage(str(write_mask(upright(geometry), geometry, tmp_path / "m", format="nrrd")))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(seen), LABELS[:, :, expected].T)
    np.testing.assert_allclose(seen.GetSpacing(), [0.5, 0.75, 2])


@pytest.mark.parametrize("seed", range(5))
def test_every_acquired_slice_is_within_half_a_step_of_its_place(seed: int) -> None:
    positions = np.r_[0, np.cumsum(np.random.default_rng(seed).uniform(1, 6, 3))]
    grid = even_grid(dicom_geometry(sheared(0), tuple(positions)))
    assert grid is not None
    for index, position in enumerate(positions):
        place = grid.places[index]
        assert grid.source[place] == index and abs(place * grid.step - position) <= grid.step / 2 + 1e-9


def test_slices_too_near_to_each_other_are_refused(tmp_path: Path) -> None:
    geometry = dicom_geometry(sheared(0), (0.0, 1e-7, 5.0, 10.0))
    with pytest.raises(InputError, match=r"^the mask on an even grid of 1e-07 mm: promises 8 x 9 x 100,000,001 = "):
        write_mask(upright(geometry), geometry, tmp_path / "m")


@pytest.mark.parametrize("upwards", [1, -1])
def test_voxels_of_uneven_slices_have_their_own_volumes(upwards: int) -> None:
    geometry = dicom_geometry(sheared(0) @ np.diag([1, 1, upwards, 1]), POSITIONS)
    assert geometry.slice_thicknesses == pytest.approx((2.0, 3.5, 3.55, 2.1))
    volumes = geometry.voxel_volumes
    assert volumes is not None
    stored = np.broadcast_to(0.5 * 0.75 * np.array([2.0, 3.5, 3.55, 2.1]), LABELS.shape)
    shown = nib.apply_orientation(stored, np.array(geometry.orientation))
    np.testing.assert_allclose(np.broadcast_to(volumes, geometry.display_shape), shown)


@pytest.mark.parametrize("tilt", [0.0, 0.4, -1.5])
def test_voxels_of_a_tilted_gantry_have_the_volume_between_their_faces(tilt: float) -> None:
    affine = np.array([[0.5, 0, 0, 1], [0, 0.75, tilt, 2], [0, 0, 2, 3], [0, 0, 0, 1]])
    volumes = dicom_geometry(affine).voxel_volumes
    assert volumes is not None and volumes.item() == pytest.approx(0.5 * 0.75 * 2)


NAMES = ['left "lung"', "heart:=big\nred", "", "Übelkeit 肺"]


def write_input(tmp_path: Path, kind: str) -> Path:
    if kind == "in.png":
        path = tmp_path / kind
        sitk.WriteImage(sitk.GetImageFromArray(LABELS[..., 0].T), str(path))
    elif kind.endswith(".nii"):
        path = tmp_path / kind
        nib.save(nib.Nifti1Image(LABELS, sheared(0)), path)
    else:
        path = tmp_path / kind
        image = sitk.GetImageFromArray(LABELS.T)
        image.SetSpacing((0.5, 0.75, 5))
        image.SetOrigin((-50, -60, 100))
        sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("kind", ["in.png", "in.nii", "in.nrrd", "in.mha"])
def test_a_segmentation_for_3d_slicer_has_names_colours_and_place(tmp_path: Path, kind: str) -> None:
    shown = read_image(write_input(tmp_path, kind))
    path = write_mask(shown, shown.meta["geometry"], tmp_path / "a.b_mask", names=NAMES, format="nrrd")
    assert path == tmp_path / "a.b_mask.seg.nrrd"
    seen = sitk.ReadImage(str(path))
    is_picture = kind == "in.png"
    np.testing.assert_array_equal(sitk.GetArrayFromImage(seen), LABELS[..., :1].T if is_picture else LABELS.T)
    np.testing.assert_allclose(seen.GetSpacing(), (1, 1, 1) if is_picture else (0.5, 0.75, 5))
    np.testing.assert_allclose(seen.GetOrigin(), (0, 0, 0) if is_picture else (-50, -60, 100))
    np.testing.assert_allclose(seen.GetDirection(), np.eye(3).ravel())
    fields = {key: seen.GetMetaData(key) for key in seen.GetMetaDataKeys() if key.startswith("Segment")}
    names = [fields[f"Segment{index}_Name"] for index in range(4)]
    assert names == ['left "lung"', "heart:=big red", "class 3", "Übelkeit 肺"]
    assert fields["Segment1_ID"] == "Segment_2" and fields["Segment1_LabelValue"] == "2"
    assert fields["Segment1_Layer"] == "0" and fields["Segment1_ColorAutoGenerated"] == "0"
    assert fields["Segment0_Extent"] == ("0 7 0 8 0 0" if is_picture else "0 7 0 8 0 3")
    assert fields["Segment3_Extent"] == "0 -1 0 -1 0 -1"
    colours = [[float(value) * 255 for value in fields[f"Segment{index}_Color"].split()] for index in range(4)]
    np.testing.assert_allclose(colours, CLASS_COLOURS[:4], atol=1e-3)
    assert fields["Segmentation_MasterRepresentation"] == "Binary labelmap"
    back = read_image(path)
    np.testing.assert_array_equal(back, shown)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a\\nb", "a\\nb"),
        ("C:\\", "C:\\"),
        ("#1 = 2: x|y~z", "#1 = 2: x|y~z"),
        ("a\0b\x1b\u2028c", "a b c"),
        ("not \udce9 UTF-8", "not UTF-8"),
        ("\t\r\n", "class 1"),
    ],
)
def test_no_name_of_a_class_breaks_a_file(tmp_path: Path, name: str, written: str) -> None:
    shown = read_image(write_input(tmp_path, "in.nii"))
    path = write_mask(shown, shown.meta["geometry"], tmp_path / "m", names=[name, "second"], format="nrrd")
    seen = sitk.ReadImage(str(path))
    assert [seen.GetMetaData(f"Segment{index}_Name") for index in range(2)] == [written, "second"]
    np.testing.assert_array_equal(read_image(path), shown)
    lines = write_label_descriptions(tmp_path / "m.label.txt", [name, "second"]).read_text("utf-8").splitlines()
    assert [line.split('"')[1] for line in lines[-2:]] == [written, "second"]


def test_a_segmentation_without_names_counts_its_classes(tmp_path: Path) -> None:
    shown = read_image(write_input(tmp_path, "in.nii"))
    seen = sitk.ReadImage(str(write_mask(shown, shown.meta["geometry"], tmp_path / "m", format="nrrd")))
    assert [seen.GetMetaData(f"Segment{index}_Name") for index in range(2)] == ["class 1", "class 2"]


def test_unknown_formats_and_labels_without_a_name_are_refused(tmp_path: Path) -> None:
    shown = read_image(write_input(tmp_path, "in.nii"))
    with pytest.raises(ValueError, match="format must be one of nrrd, got 'dicom'"):
        write_mask(shown, shown.meta["geometry"], tmp_path / "m", format="dicom")
    with pytest.raises(ValueError, match=r"labels must lie in 0..1, one a name, got 2"):
        write_mask(shown, shown.meta["geometry"], tmp_path / "m", names=["one"])
    assert [path.name for path in tmp_path.iterdir()] == ["in.nii"]


def test_an_itk_snap_label_file_has_a_line_a_class(tmp_path: Path) -> None:
    path = write_label_descriptions(tmp_path / "m.label.txt", NAMES, CLASS_COLOURS[:3])
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    found = [
        re.fullmatch(r'\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+([01])  ([01])  ([01])    "([^"]*)"', line) for line in lines
    ]
    assert [match.groups() for match in found if match] == [
        ("0", "0", "0", "0", "0", "0", "0", "Clear Label"),
        ("1", "230", "159", "0", "1", "1", "1", "left 'lung'"),
        ("2", "86", "180", "233", "1", "1", "1", "heart:=big red"),
        ("3", "0", "158", "115", "1", "1", "1", "class 3"),
        ("4", "230", "159", "0", "1", "1", "1", "Übelkeit 肺"),
    ]
    assert len(lines) == 5


@pytest.mark.parametrize("slice_axis", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("upwards", [1, -1])
def test_pictures_across_uneven_slices_show_their_distances(slice_axis: str, upwards: int) -> None:
    positions = (0.0, 2.0, 4.0, 9.0, 13.0, 15.0, 17.0, 19.0)
    array = np.arange(8 * 9 * 8, dtype=np.float32).reshape(8, 9, 8, 1)
    affine = np.diag([-1.0, -1, 2 * upwards, 1])
    geometry = make_geometry(StoredImage(array, "dicom", affine, slice_positions=positions), slice_axis, "a series")
    drawn = drawn_evenly(torch.from_numpy(to_display(array, geometry)), geometry)
    if slice_axis == "axial":
        assert drawn.shape == (1, 9, 8, 8)
        return
    even = array[:, :, [0, 1, 2, 2, 3, 3, 4, 4, 5, 6, 7]]  # every 2 mm the nearest
    expected = make_geometry(StoredImage(even, "dicom", affine), slice_axis, "a series")
    np.testing.assert_array_equal(drawn.numpy(), to_display(even, expected))
