"""Image layers as the facade takes images, and masks back on the layers' own arrays."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from fake_layers import FakeLayer

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.geometry import restore_geometry
from medclipsam_monai.io.memory import read_memory
from medclipsam_monai.napari.layers import AS_SHOWN, WORLDS, read_layer, world_to_ras

RNG = np.random.default_rng(3)
VOLUME = RNG.permutation(9 * 10 * 11).reshape(9, 10, 11).astype(np.int16)
OBLIQUE = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, -0.2, 0.1) @ np.diag([1.0, 1.5, 4.0]), [-7, 20, 5])


def opened(image):
    arguments = image.to_open()
    return read_memory(arguments.pop("image"), **arguments)


def back(image, loaded):
    """The opened image's own numbers, put back as a mask would be."""
    return image.restored(restore_geometry(loaded[0].numpy(), loaded.meta["geometry"]))


def test_a_picture_is_opened_as_it_is_shown():
    picture = RNG.integers(0, 255, (20, 30), dtype=np.uint8)
    image = read_layer(FakeLayer(picture))
    loaded = opened(image)
    assert np.array_equal(loaded[0], picture) and loaded.meta["spacing"] is None and not image.known
    assert np.array_equal(back(image, loaded), picture) and image.opened_index((3, 4)) == [3, 4]


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_are_channels_and_no_axis(channels):
    picture = np.full((20, 30, channels), 255, np.uint8)
    picture[..., :3] = RNG.integers(0, 255, (20, 30, 3))
    image = read_layer(FakeLayer(picture, rgb=True))
    loaded = opened(image)
    assert image.shape == (20, 30) and np.array_equal(loaded, np.moveaxis(picture[..., :3], -1, 0))


def test_a_stack_is_cut_along_its_first_axis_and_stands_as_napari_shows_it():
    image = read_layer(FakeLayer(VOLUME, np.diag([3.0, 0.5, 0.7, 1])))
    loaded = opened(image)
    assert image.world == AS_SHOWN and image.known
    assert np.array_equal(loaded[0], np.moveaxis(VOLUME, 0, 2)) and loaded.meta["spacing"] == (0.5, 0.7, 3.0)
    assert np.array_equal(back(image, loaded), VOLUME)
    index = tuple(int(value) for value in image.opened_index((5, 2, 7)))
    assert np.moveaxis(VOLUME, 0, 2)[index] == VOLUME[5, 2, 7]


def test_a_stack_of_colours_is_a_volume():
    colours = RNG.integers(0, 255, (9, 10, 11, 3), dtype=np.uint8)
    loaded = opened(read_layer(FakeLayer(colours, rgb=True)))
    assert np.array_equal(loaded, np.moveaxis(colours, (3, 1, 2, 0), (0, 1, 2, 3)))


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("affine", [OBLIQUE, OBLIQUE[[1, 2, 0, 3]]], ids=["axial", "sagittal"])
def test_a_placed_volume_stands_upright_whatever_the_axes_of_its_world(world, affine):
    """Against the same voxels as nibabel has them: the world of the layer is reached by nibabel's own orientations."""
    turn = nib.orientations.axcodes2ornt(world)
    to_world = np.zeros((4, 4))
    to_world[3, 3] = 1
    for axis, (target, sign) in enumerate(turn):
        to_world[axis, int(target)] = sign
    layer = FakeLayer(VOLUME, to_world @ affine, metadata={"world_axes": world}, units=("millimeter",) * 3)
    image = read_layer(layer)
    loaded, wanted = opened(image), read_memory(nib.Nifti1Image(VOLUME, affine))
    np.testing.assert_allclose(world_to_ras(world) @ image.matrix, affine, atol=1e-9)
    assert np.array_equal(loaded, wanted) and loaded.meta["geometry"].orientation == wanted.meta["geometry"].orientation
    assert np.array_equal(back(image, loaded), VOLUME)


def test_a_reversed_array_is_the_same_volume():
    """ITK's readers give (z, y, x) on a world of that order, in LPS."""
    lps = np.diag([-1.0, -1, 1, 1]) @ OBLIQUE
    reverse = np.eye(4)[[2, 1, 0, 3]]
    image = read_layer(FakeLayer(VOLUME.T, reverse @ lps @ reverse), "SPL")
    assert np.array_equal(opened(image), read_memory(nib.Nifti1Image(VOLUME, OBLIQUE)))
    assert np.array_equal(back(image, opened(image)), VOLUME.T)


@pytest.mark.parametrize(("unit", "length"), [("micrometer", 0.002), ("pixel", 2.0), ("centimeter", 20.0)])
def test_units_become_millimetres(unit, length):
    image = read_layer(FakeLayer(VOLUME, np.diag([2.0, 2, 2, 1]), units=(unit,) * 3))
    assert image.spacing == pytest.approx((length,) * 3) and image.known


def test_the_finest_of_several_scales_is_taken():
    fine = np.zeros((64, 64), np.uint8)
    assert read_layer(FakeLayer([fine, fine[::2, ::2]], multiscale=True)).shape == (64, 64)


@pytest.mark.parametrize(
    ("layer", "world", "message"),
    [
        (FakeLayer(np.zeros((2, 3, 4, 5))), None, "has 4 axes; give a picture or a volume"),
        (FakeLayer(np.zeros(7)), None, "has 1 axes"),
        (FakeLayer(VOLUME), "XYZ", "world axes must be 'as shown' or one of RAS, LPS, SAR, SPL, got 'XYZ'"),
        (FakeLayer(np.broadcast_to(np.uint8(0), (2000, 2000, 2000))), None, "voxels"),
    ],
)
def test_what_is_no_picture_or_volume_is_refused(layer, world, message):
    with pytest.raises(InputError, match=message):
        read_layer(layer, world)
