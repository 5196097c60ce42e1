"""A mask drawn at a voxel of the upright image comes back at that voxel of the file's array, whatever its affine."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image, restore_geometry, write_mask
from medclipsam_monai.io.formats.stored import StoredImage
from medclipsam_monai.io.geometry import DISPLAY_CODES, make_geometry, to_display

ALL_48 = [
    tuple(zip(axes, flips, strict=True))
    for axes in itertools.permutations(range(3))
    for flips in itertools.product((1, -1), repeat=3)
]
SHAPE = (9, 10, 11)


def affine_of(orientation: tuple[tuple[int, int], ...], tilt: float = 0.0) -> np.ndarray:
    """RAS affine whose array axis i runs along world axis orientation[i][0], turned by ``tilt`` about x and z."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, flip) in enumerate(orientation):
        affine[world, axis] = flip * (axis + 1.5)
    cos, sin = np.cos(tilt), np.sin(tilt)
    about_x = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    about_z = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    affine[:3, :3] = about_z @ about_x @ affine[:3, :3]
    affine[:3, 3] = [5, -7, 11]
    return affine


def stored(shape: tuple[int, ...], affine: np.ndarray | None) -> StoredImage:
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(*shape, 1)
    return StoredImage(array, "picture" if affine is None else "nifti", affine)


@pytest.mark.parametrize("slice_axis", DISPLAY_CODES)
@pytest.mark.parametrize("tilt", [0.0, 0.3])
@pytest.mark.parametrize("orientation", ALL_48)
def test_every_orientation_is_shown_alike_and_comes_back(
    orientation: tuple[tuple[int, int], ...], tilt: float, slice_axis: str
) -> None:
    image = stored(SHAPE, affine_of(orientation, tilt))
    geometry = make_geometry(image, slice_axis, "x")
    shown = to_display(image.array, geometry)
    assert "".join(nib.aff2axcodes(geometry.display_affine)) == DISPLAY_CODES[slice_axis]
    np.testing.assert_array_equal(restore_geometry(shown, geometry), image.array[..., 0])
    voxel = (2, 7, 4)
    place = np.argwhere(shown[0] == image.array[voxel][0])[0]
    world = geometry.display_affine @ [*place, 1]
    np.testing.assert_allclose(world, image.affine @ [*voxel, 1], atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    orientation=st.sampled_from(ALL_48),
    tilt=st.floats(-0.7, 0.7),
    voxel=st.tuples(*(st.integers(0, size - 1) for size in SHAPE)),
    slice_axis=st.sampled_from(sorted(DISPLAY_CODES)),
)
def test_a_voxel_marked_on_the_upright_image_is_marked_in_the_file(orientation, tilt, voxel, slice_axis) -> None:
    image = stored(SHAPE, affine_of(orientation, tilt))
    geometry = make_geometry(image, slice_axis, "x")
    mask = torch.from_numpy(to_display(image.array, geometry)) == float(image.array[voxel][0])
    assert np.argwhere(restore_geometry(mask, geometry)).tolist() == [list(voxel)]


@pytest.mark.parametrize("single", [0, 1, 2])
@pytest.mark.parametrize("orientation", ALL_48)
def test_one_slice_is_a_picture_of_its_own_plane(orientation: tuple[tuple[int, int], ...], single: int) -> None:
    shape = tuple(1 if axis == single else size for axis, size in enumerate(SHAPE))
    image = stored(shape, affine_of(orientation))
    geometry = make_geometry(image, "axial", "x")
    shown = to_display(image.array, geometry)
    plane = ("sagittal", "coronal", "axial")[orientation[single][0]]
    assert "".join(nib.aff2axcodes(geometry.display_affine)) == DISPLAY_CODES[plane]
    assert shown.shape == (1, *geometry.display_shape) and shown.ndim == 3
    np.testing.assert_array_equal(restore_geometry(shown, geometry), image.array[..., 0])


def test_pictures_stay_as_they_are_stored() -> None:
    image = stored((3, 5), None)
    geometry = make_geometry(image, "sagittal", "x")
    np.testing.assert_array_equal(to_display(image.array, geometry), image.array.transpose(2, 0, 1))
    assert geometry.display_spacing is None


def test_several_channels_keep_their_axis() -> None:
    image = stored(SHAPE, affine_of(ALL_48[7]))
    geometry = make_geometry(image, "coronal", "x")
    shown = to_display(image.array, geometry)
    both = restore_geometry(np.concatenate([shown, -shown]), geometry)
    np.testing.assert_array_equal(both, np.stack([image.array[..., 0], -image.array[..., 0]]))


def test_a_geometry_travels_between_processes(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.int16), affine_of(ALL_48[9])), tmp_path / "in.nii")
    geometry = read_image(tmp_path / "in.nii").meta["geometry"]
    copy = pickle.loads(pickle.dumps(geometry))
    assert copy == geometry and copy.header == geometry.header


def test_a_mask_of_another_shape_is_refused() -> None:
    geometry = make_geometry(stored((3, 5), None), "axial", "x")
    with pytest.raises(ValueError, match=r"mask must be \(3, 5\).*got \(5, 3\)"):
        restore_geometry(np.zeros((5, 3)), geometry)


def test_a_singular_affine_is_refused() -> None:
    with pytest.raises(InputError, match=r"^bad.nii: its affine is singular"):
        make_geometry(stored(SHAPE, np.diag([1.0, 0, 1, 1])), "axial", "bad.nii")


def test_an_unknown_slice_axis_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"slice_axis must be one of acquired, axial, coronal, sagittal, got 'oblique'"
    ):
        make_geometry(stored(SHAPE, np.eye(4)), "oblique", "x")


@pytest.mark.parametrize(
    ("shape", "spacing", "plane"),
    [
        ((20, 256, 256), (4, 0.8, 0.8), "sagittal"),  # the coarsest axis
        ((256, 20, 256), (0.8, 4, 0.8), "coronal"),
        ((256, 256, 20), (0.8, 0.8, 4), "axial"),
        ((200, 200, 90), (2.9, 2, 2), "axial"),  # not clearly coarser
        ((90, 200, 200), (3, 2, 2), "sagittal"),
        ((90, 200, 200), (3, 2.1, 2), "axial"),
        ((20, 256, 256), (1, 1, 1), "sagittal"),  # few slices of equal spacing
        ((256, 64, 256), (1, 1, 1), "coronal"),
        ((256, 65, 256), (1, 1, 1), "axial"),
        ((100, 512, 512), (0.7, 0.7, 5), "axial"),  # the coarsest axis comes before the fewest slices
        ((4, 200, 14), (1, 1, 1), "sagittal"),  # strips of 4 pixels are no pictures
        ((200, 200, 4), (3, 1, 1), "axial"),
        ((4, 5, 6), (1, 1, 1), "axial"),  # nothing fits
    ],
)
def test_the_acquired_plane_of_a_volume(shape: tuple[int, ...], spacing: tuple[float, ...], plane: str) -> None:
    image = StoredImage(np.zeros((*shape, 1), np.uint8), "nifti", np.diag([*spacing, 1.0]))
    assert make_geometry(image, "acquired", "x").plane == plane
    for axes in itertools.permutations(range(3)):  # whatever the order and the directions of the file's axes
        affine = np.zeros((4, 4))
        affine[3, 3] = 1
        for position, axis in enumerate(axes):
            affine[axis, position] = -spacing[axis]
        stored_so = StoredImage(image.array.transpose(*axes, 3), "itk", affine)
        assert make_geometry(stored_so, "acquired", "x").plane == plane


@pytest.mark.parametrize("plane", DISPLAY_CODES)
def test_a_dicom_series_is_cut_in_the_plane_of_its_files(plane: str) -> None:
    affine = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(DISPLAY_CODES[plane]), SHAPE)
    image = StoredImage(np.zeros((*SHAPE, 1), np.uint8), "dicom", np.diag([1, 1, 0.1, 1]) @ np.linalg.inv(affine))
    assert make_geometry(image, "acquired", "x").plane == plane
    assert {axis: make_geometry(image, axis, "x").plane for axis in DISPLAY_CODES} == {x: x for x in DISPLAY_CODES}
    assert make_geometry(stored((3, 5), None), "acquired", "x").plane is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (1, 2), (2, 3)])
def test_an_affine_that_is_not_finite_is_refused(value: float, place: tuple[int, int]) -> None:
    affine = np.eye(4)
    affine[place] = value
    with pytest.raises(InputError, match=r"^bad.nii: its affine holds NaN or infinity"):
        make_geometry(stored(SHAPE, affine), "axial", "bad.nii")


@pytest.mark.parametrize("orientation", ALL_48[::5])
@pytest.mark.parametrize("shape", [SHAPE, (9, 10), (9, 10, 1), (*SHAPE, 1)])
def test_a_nifti_mask_has_its_inputs_grid(
    tmp_path: Path, shape: tuple[int, ...], orientation: tuple[tuple[int, int], ...]
) -> None:
    affine = affine_of(orientation, 0.2)
    data = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, code=4)
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"Somebody Known"
    nib.save(image, tmp_path / "in.nii.gz")

    shown = read_image(tmp_path / "in.nii.gz")
    target = 57
    path = write_mask(torch.as_tensor(shown == target), shown.meta["geometry"], tmp_path / "in_mask")

    assert path == tmp_path / "in_mask.nii.gz"
    mask, source = nib.load(path), nib.load(tmp_path / "in.nii.gz")
    assert mask.shape == shape and mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(mask.dataobj), data == target)
    for field in ("sform_code", "qform_code", "pixdim", "xyzt_units", "srow_x", "srow_y", "srow_z", "quatern_b"):
        np.testing.assert_array_equal(mask.header[field], source.header[field], err_msg=field)
    assert bytes(mask.header["descrip"]).strip(b"\0") == b""
