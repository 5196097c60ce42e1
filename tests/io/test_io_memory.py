"""Images in memory are read as files of them are, and refused for what files are refused for."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image, restore_geometry
from medclipsam_monai.io.memory import read_memory

RAMP = np.arange(9 * 12, dtype=np.uint8).reshape(9, 12)
COLOURS = np.stack([RAMP, RAMP + 50, 255 - RAMP], axis=-1)
VOLUME = np.arange(9 * 12 * 8, dtype=np.int16).reshape(9, 12, 8)
OBLIQUE = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, -4], [0, 0, -3.0, 7], [0, 0, 0, 1]])


@pytest.mark.parametrize("kind", ["u1", "u2", "i2", "f4", "f8", ">i4", "?"])
def test_grey_arrays_of_every_type(kind: str) -> None:
    array = RAMP.astype(kind)
    image = read_memory(array)
    np.testing.assert_array_equal(image.numpy()[0], array.astype(np.float32) * (255 if kind == "?" else 1))
    assert image.meta["uint8"] == (kind in ("u1", "?")) and image.meta["spacing"] is None


@pytest.mark.parametrize("make", [np.asarray, lambda a: torch.from_numpy(a).permute(2, 0, 1), Image.fromarray])
def test_a_colour_picture_is_the_same_from_an_array_a_tensor_pillow_and_a_file(tmp_path: Path, make: Callable) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "p.png")
    image, file = read_memory(make(COLOURS)), read_image(tmp_path / "p.png")
    assert torch.equal(image.as_tensor(), file.as_tensor())
    for key in ("uint8", "photometric", "spatial", "spacing", "original_channels"):
        assert image.meta[key] == file.meta[key]


def test_opacity_lays_an_array_on_black_as_it_does_a_file(tmp_path: Path) -> None:
    array = np.dstack([COLOURS, RAMP * 2])
    Image.fromarray(array).save(tmp_path / "p.png")
    assert torch.equal(read_memory(array).as_tensor(), read_image(tmp_path / "p.png").as_tensor())
    with pytest.raises(InputError, match="an opacity of signed numbers"):
        read_memory(array.astype(np.int16))


@pytest.mark.filterwarnings("ignore:.*turned by its EXIF tag")
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_pillow_image_is_turned_by_its_exif_tag(tmp_path: Path, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(RAMP).save(tmp_path / "p.png", exif=exif)
    image = read_memory(Image.open(tmp_path / "p.png"))
    assert torch.equal(image.as_tensor(), read_image(tmp_path / "p.png").as_tensor())
    np.testing.assert_array_equal(restore_geometry(image, image.meta["geometry"]), RAMP)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16", "I", "F", "YCbCr"])
def test_pillow_images_of_every_mode_have_their_brightness(mode: str) -> None:
    grey = Image.fromarray(RAMP)
    image = Image.fromarray(RAMP.astype(np.uint16)) if mode == "I;16" else grey.convert(mode)
    seen = read_memory(image).numpy()[0]
    expected = np.asarray(image.convert("L")) if mode == "1" else RAMP
    assert np.abs(seen - expected).max() <= 1


def test_rows_columns_and_slices_with_a_spacing_are_shown_as_they_come() -> None:
    for spacing in ((2.0, 1.5, 3.0), (9.0, 1.0, 1.0)):
        image = read_memory(VOLUME, spacing=spacing)
        np.testing.assert_array_equal(image.numpy()[0], VOLUME)
        assert image.meta["spacing"] == spacing
        np.testing.assert_array_equal(restore_geometry(image, image.meta["geometry"]), VOLUME)
    assert read_memory(RAMP, spacing=(0.5, 0.25)).meta["spacing"] == (0.5, 0.25)


def as_simple_itk(volume: np.ndarray) -> Any:
    """The NIfTI image of ``volume`` and OBLIQUE, in SimpleITK's order and its LPS directions."""
    image = sitk.GetImageFromArray(volume.T)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ OBLIQUE
    lengths = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(lengths.tolist())
    image.SetDirection((lps[:3, :3] / lengths).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


def as_itk(volume: np.ndarray) -> Any:
    source = as_simple_itk(volume)
    image = itk.image_from_array(np.ascontiguousarray(volume.T))
    image.SetSpacing(list(source.GetSpacing()))
    image.SetOrigin(list(source.GetOrigin()))
    image.SetDirection(itk.matrix_from_array(np.reshape(source.GetDirection(), (3, 3))))
    return image


PLACED: dict[str, Callable[[], Any]] = {
    "nibabel": lambda: (nib.Nifti1Image(VOLUME, OBLIQUE), {}),
    "nibabel NIfTI-2": lambda: (nib.Nifti2Image(VOLUME, OBLIQUE), {}),
    "nibabel MGH": lambda: (nib.MGHImage(VOLUME, OBLIQUE), {}),
    "SimpleITK": lambda: (as_simple_itk(VOLUME), {}),
    "itk": lambda: (as_itk(VOLUME), {}),
    "array with an affine": lambda: (VOLUME, {"affine": OBLIQUE}),
    "tensor with an affine": lambda: (torch.from_numpy(VOLUME[None]), {"affine": OBLIQUE}),
    "MetaTensor": lambda: (MetaTensor(torch.from_numpy(VOLUME[None]), affine=torch.from_numpy(OBLIQUE)), {}),
    "MetaTensor without channels": lambda: (MetaTensor(torch.from_numpy(VOLUME), affine=torch.from_numpy(OBLIQUE)), {}),
}


@pytest.mark.parametrize("axis", ["acquired", "axial", "coronal", "sagittal"])
@pytest.mark.parametrize("form", PLACED)
def test_a_placed_volume_is_shown_as_its_nifti_file_is(tmp_path: Path, form: str, axis: str) -> None:
    nib.save(nib.Nifti1Image(VOLUME, OBLIQUE), tmp_path / "v.nii")
    image, options = PLACED[form]()
    found, file = read_memory(image, axis, **options), read_image(tmp_path / "v.nii", axis)
    assert torch.equal(found.as_tensor(), file.as_tensor())
    np.testing.assert_allclose(found.affine, file.affine, atol=1e-6)
    np.testing.assert_allclose(found.meta["spacing"], file.meta["spacing"])
    np.testing.assert_array_equal(restore_geometry(found, found.meta["geometry"]), VOLUME)


def test_units_of_a_nibabel_image_are_heeded() -> None:
    image = nib.Nifti1Image(VOLUME, OBLIQUE / 1000)
    image.header.set_xyzt_units("meter")
    np.testing.assert_allclose(read_memory(image, "axial").meta["spacing"], (1.5, 2.0, 3.0), rtol=1e-6)


def test_colour_volumes_and_flat_images_of_other_libraries() -> None:
    rgb = np.zeros((9, 12, 8), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["G"] = VOLUME % 200
    np.testing.assert_array_equal(read_memory(nib.Nifti1Image(rgb, np.eye(4))).numpy().max(axis=(1, 2, 3)), (0, 199, 0))
    flat = sitk.GetImageFromArray(COLOURS, isVector=True)
    assert read_memory(flat).shape == (3, 9, 12)
    assert read_memory(itk.image_from_array(RAMP)).shape == (1, 9, 12)
    assert read_memory(nib.Nifti1Image(VOLUME[:, :, :1], OBLIQUE)).shape[0] == 1


@pytest.mark.parametrize(
    "make",
    [lambda ramp: ramp.view(np.matrix), np.ma.masked_array, lambda ramp: torch.from_numpy(ramp)[None].bfloat16()],
)
def test_kinds_of_arrays_that_are_no_plain_ones_are_read(make: Callable) -> None:
    np.testing.assert_array_equal(read_memory(make(RAMP)).numpy(), RAMP[None])


ALL_NAN = np.full((9, 12), np.nan)
REFUSED: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "all NaN": (lambda: ALL_NAN, {}, "holds no finite number, only NaN or infinity"),
    "NaN tensor": (lambda: torch.from_numpy(ALL_NAN[None]), {}, "holds no finite number"),
    "NaN volume": (lambda: nib.Nifti1Image(np.full((9, 9, 9), np.nan), np.eye(4)), {}, "holds no finite number"),
    "too small": (lambda: np.zeros((4, 4), np.uint8), {}, r"is 4 x 4 pixels \(rows x columns\); each side must have"),
    "small Pillow": (lambda: Image.new("L", (40, 7)), {}, "is 7 x 40 pixels"),
    "thin volume": (lambda: VOLUME[:3], {"spacing": (1, 1, 1)}, "is 3 x 12 pixels"),
    "complex": (lambda: RAMP.astype(complex), {}, "holds complex numbers; give their magnitude"),
    "complex tensor": (lambda: torch.zeros(1, 9, 9, dtype=torch.complex64), {}, "holds complex numbers"),
    "objects": (lambda: RAMP.astype(object), {}, "must hold real numbers, got the type object"),
    "words": (lambda: RAMP.astype(str), {}, "must hold real numbers, got the type <U3"),
    "dates": (lambda: RAMP.astype("M8[s]"), {}, "must hold real numbers, got the type datetime64"),
    "empty": (lambda: np.zeros((0, 9)), {}, r"is empty, its shape is \(0, 9, 1\)"),
    "four dimensions": (lambda: np.zeros((9, 9, 9, 2)), {}, r"must be an array .* got the shape \(9, 9, 9, 2\)"),
    "4-D NIfTI": (lambda: nib.Nifti1Image(np.zeros((9, 9, 9, 2)), np.eye(4)), {}, "must be a 2-D or 3-D image"),
    "4-D SimpleITK": (lambda: sitk.Image([9, 9, 9, 2], sitk.sitkUInt8), {}, "must be a 2-D or 3-D image"),
    "vectors": (lambda: sitk.Image([9, 9], sitk.sitkVectorFloat32, 2), {}, "holds 2 float32 numbers a voxel"),
    "no spacing": (lambda: VOLUME, {}, r"is a volume of shape \(9, 12, 8\); give its spacing or affine"),
    "tensor of many channels": (lambda: torch.zeros(5, 9, 9), {}, r"must be an array .* got the shape \(5, 9, 9\)"),
    "zero spacing": (lambda: VOLUME, {"spacing": (1, 0, 1)}, "its spacing must be 3 positive millimetres"),
    "two spacings": (lambda: RAMP, {"spacing": (1,)}, "its spacing must be 2 positive millimetres"),
    "both": (lambda: VOLUME, {"spacing": (1, 1, 1), "affine": OBLIQUE}, "give its spacing or its affine, not both"),
    "NaN affine": (lambda: VOLUME, {"affine": OBLIQUE * np.nan}, "its affine must be 4 x 4 finite numbers"),
    "small affine": (lambda: VOLUME, {"affine": np.eye(3)}, "its affine must be 4 x 4 finite numbers"),
    "singular affine": (lambda: VOLUME, {"affine": np.diag([1, 1, 0, 1])}, "its affine is singular"),
    "spacing of Pillow": (lambda: Image.new("L", (9, 9)), {"spacing": (1, 1)}, "brings its own geometry"),
    "huge numbers": (lambda: RAMP * 1e300, {}, "which single precision cannot tell apart"),
    "words as spacing": (lambda: RAMP, {"spacing": "ab"}, "its spacing or affine must be plain numbers"),
    "one spacing": (lambda: RAMP, {"spacing": 1.0}, "its spacing or affine must be plain numbers"),
    "ragged affine": (lambda: VOLUME, {"affine": [[1], [1, 2]]}, "its spacing or affine must be plain numbers"),
    "sparse tensor": (lambda: torch.zeros(1, 9, 9).to_sparse(), {}, "a tensor must be plain numbers"),
    "tensor without data": (lambda: torch.zeros(1, 9, 9, device="meta"), {}, "a tensor must be plain numbers"),
    "a list": (lambda: RAMP.tolist(), {}, "must be an array .*; got list"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_a_file_is_refused_for_an_image_in_memory_is(form: str) -> None:
    make, options, message = REFUSED[form]
    with pytest.raises(InputError, match=message) as refusal:
        read_memory(make(), **options)
    assert "\n" not in str(refusal.value) and "image in memory" in str(refusal.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RAMP,
        lambda: torch.from_numpy(RAMP[None]),
        lambda: Image.fromarray(RAMP),
        lambda: nib.Nifti1Image(RAMP[..., None], np.eye(4)),
        lambda: sitk.GetImageFromArray(RAMP),
        lambda: itk.image_from_array(RAMP),
    ],
)
def test_the_limit_holds_for_images_in_memory(monkeypatch: pytest.MonkeyPatch, make: Callable) -> None:
    monkeypatch.setenv("MEDCLIPSAM_MAX_VOXELS", "107")
    with pytest.raises(InputError, match="108 voxels, the limit is 107"):
        read_memory(make())


def test_pages_of_a_pillow_image_are_refused() -> None:
    content = io.BytesIO()
    Image.fromarray(RAMP).save(content, "TIFF", save_all=True, append_images=[Image.fromarray(RAMP)])
    with pytest.raises(InputError, match="holds 2 pages"):
        read_memory(Image.open(content))


def test_the_hash_tells_numbers_type_shape_and_place_apart() -> None:
    def of(image: Any, **options: Any) -> str:
        return read_memory(image, **options).meta["sha256"]

    same = [of(RAMP), of(RAMP.copy(order="F"))]
    other = [of(RAMP + 1), of(RAMP.astype(np.int16)), of(RAMP.reshape(12, 9))]
    volumes = [of(VOLUME, spacing=(1, 1, 1)), of(VOLUME, spacing=(1, 1, 2)), of(VOLUME, affine=OBLIQUE)]
    assert same[0] == same[1] and len({same[0], *other, *volumes}) == 7


def test_inputs_are_left_alone_and_nothing_is_warned() -> None:
    array = COLOURS.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_memory(array)
    np.testing.assert_array_equal(array, COLOURS)
