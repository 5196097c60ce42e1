"""`WriteMaskd` lays the mask of an image that LoadImaged read and MONAI's transforms moved on the file's voxels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from dicom_files import write_series
from monai.data import MetaTensor
from monai.transforms import (
    CenterSpatialCropd,
    Compose,
    EnsureChannelFirstd,
    Flipd,
    LoadImaged,
    MapTransform,
    Orientationd,
    Resized,
    Rotate90d,
    Spacingd,
    SpatialPadd,
)
from PIL import Image
from scipy.ndimage import gaussian_filter

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image
from medclipsam_monai.io.transforms import ReadImaged, WriteMaskd

pytestmark = pytest.mark.filterwarnings("ignore:.*turned by its EXIF tag", "ignore:.*NvImgCodec")
LEVEL = 120
TILT = np.array([[np.cos(0.4), 0, np.sin(0.4)], [0, 1, 0], [-np.sin(0.4), 0, np.cos(0.4)]])


def blobs(shape: tuple[int, ...]) -> np.ndarray:
    """Numbers 0..240 whose bright part is like none of its mirror images."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=shape), 2)
    return (240 * (noise - noise.min()) / np.ptp(noise)).round().astype(np.int16)


def write_nifti(at: Path) -> Path:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = TILT @ np.array([[0, -2.0, 0], [1.5, 0, 0], [0, 0, -3.0]]), (5, -4, 7)
    nib.save(nib.Nifti1Image(blobs((16, 20, 12)), affine), at / "v.nii.gz")
    return at / "v.nii.gz"


def write_nrrd(at: Path) -> Path:
    image = sitk.GetImageFromArray(blobs((16, 20, 12)).T)
    image.SetSpacing((2, 3, 4))
    image.SetOrigin((3, 4, 5))
    image.SetDirection(TILT.ravel().tolist())
    sitk.WriteImage(image, str(at / "v.nrrd"))
    return at / "v.nrrd"


def write_dicom(at: Path) -> Path:
    write_series(at / "v", blobs((9, 20, 16)), directions=(0, 1, 0, 0, 0, -1), RescaleSlope=1, RescaleIntercept=0)
    return at / "v"


def write_png(at: Path) -> Path:
    Image.fromarray(blobs((20, 14)).astype(np.uint8)).save(at / "v.png")
    return at / "v.png"


def write_turned(at: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(blobs((20, 14)).astype(np.uint8)).save(at / "v.png", exif=exif)
    return at / "v.png"


FILES: dict[str, Callable[[Path], Path]] = {
    "NIfTI": write_nifti,
    "NRRD": write_nrrd,
    "DICOM": write_dicom,
    "PNG": write_png,
    "EXIF": write_turned,
}


FINER = {"NIfTI": (0.4, 0.5, 0.6), "NRRD": (0.4, 0.6, 0.8), "DICOM": (0.4, 0.25, 0.1)}
"""Millimetres along right, front and up: an odd part of a voxel's, so that no point lies between two voxels."""


def moves(name: str, dimensions: int, finer: tuple[float, ...] = ()) -> list[MapTransform]:
    """Transforms that lose no voxel."""
    made = {
        "as read": [],
        "flipped and turned": [Flipd("image", spatial_axis=0), Rotate90d("image")],
        "padded": [SpatialPadd("image", [40] * dimensions)],
        "resized": [Resized("image", [48, 60, 36][:dimensions], mode="nearest-exact")],
        "oriented": [Orientationd("image", axcodes="SPL", labels=None)],
    }
    if name == "respaced":
        return [Orientationd("image", axcodes="RAS", labels=None), Spacingd("image", finer, mode="nearest")]
    return made[name]


def brights(path: Path) -> np.ndarray:
    """The file's voxels above the level, by SimpleITK or Pillow, in the order of their axes."""
    if path.suffix == ".png":
        return np.asarray(Image.open(path)) > LEVEL
    if path.is_dir():
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
        return sitk.GetArrayFromImage(reader.Execute()) > LEVEL
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path))) > LEVEL


def written(out: Path, path: Path) -> np.ndarray:
    """The mask on the grid of the file, by points of the patient."""
    (mask,) = out.glob("*_mask*")
    if path.suffix == ".png":
        return np.asarray(Image.open(mask)) > 0
    if path.is_dir():
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
        grid = reader.Execute()
    else:
        grid = sitk.ReadImage(str(path))
        np.testing.assert_allclose(sitk.ReadImage(str(mask)).GetOrigin(), grid.GetOrigin(), atol=1e-4)
    assert sitk.ReadImage(str(mask)).GetNumberOfPixels() == grid.GetNumberOfPixels()
    found = sitk.Resample(sitk.ReadImage(str(mask)), grid, sitk.Transform(), sitk.sitkNearestNeighbor)
    return sitk.GetArrayFromImage(found) > 0


@pytest.mark.parametrize("reader", [None, "ITKReader"])
@pytest.mark.parametrize("move", ["as read", "flipped and turned", "padded", "resized", "oriented", "respaced"])
@pytest.mark.parametrize("form", FILES)
def test_a_mask_lies_on_the_voxels_of_the_file(tmp_path, form, move, reader):
    path = FILES[form](tmp_path)
    picture = path.suffix == ".png"
    if picture and move in ("oriented", "respaced"):
        move = "resized"  # a picture has no axes of the patient
    moved = moves(move, 2 if picture else 3, FINER.get(form, ()))
    steps = Compose([LoadImaged("image", reader=reader), EnsureChannelFirstd("image"), *moved])
    item = steps({"image": str(path)})
    item["pred"] = (item["image"][:1] > LEVEL).float()
    WriteMaskd("pred", output_dir=tmp_path / "out")(item)
    expected = brights(path)
    assert 0.2 < expected.mean() < 0.8
    np.testing.assert_array_equal(written(tmp_path / "out", path), expected)
    assert len(list((tmp_path / "out").iterdir())) == 2  # and the overlay


def test_outside_of_what_was_cropped_nothing_is_found(tmp_path):
    path = write_nifti(tmp_path)
    item = Compose([LoadImaged("image"), EnsureChannelFirstd("image"), CenterSpatialCropd("image", (8, 10, 4))])(
        {"image": str(path)}
    )
    item["pred"] = torch.ones(1, 8, 10, 4)
    WriteMaskd("pred", output_dir=tmp_path / "out", overlay=False)(item)
    expected = np.zeros((16, 20, 12))
    expected[4:12, 5:15, 4:8] = 1
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "out" / "v_mask.nii.gz").dataobj), expected)


@pytest.mark.parametrize("form", FILES)
def test_an_image_of_ours_that_was_moved_since(tmp_path, form):
    path = FILES[form](tmp_path)
    dimensions = 2 if path.suffix == ".png" else 3
    item = Compose([ReadImaged("image"), *moves("flipped and turned", dimensions), *moves("padded", dimensions)])(
        {"image": str(path)}
    )
    item["pred"] = (item["image"][:1] > LEVEL).float()
    WriteMaskd("pred", output_dir=tmp_path / "out")(item)
    np.testing.assert_array_equal(written(tmp_path / "out", path), brights(path))


def test_a_coarse_grid_gives_each_voxel_the_nearest_label(tmp_path):
    nib.save(nib.Nifti1Image(blobs((16, 16, 12)), np.eye(4)), tmp_path / "v.nii")
    steps = [LoadImaged("image"), EnsureChannelFirstd("image"), Resized("image", (8, 8, 12), mode="nearest-exact")]
    item = Compose(steps)({"image": str(tmp_path / "v.nii")})
    item["pred"] = torch.zeros(2, 8, 8, 12)
    item["pred"][0, 1, 2, 3], item["pred"][1, 5, 6, 7] = 0.9, 0.8
    WriteMaskd("pred", output_dir=tmp_path / "out", overlay=False)(item)
    labels = np.asarray(nib.load(tmp_path / "out" / "v_mask.nii.gz").dataobj)
    expected = np.zeros((16, 16, 12))
    expected[2:4, 4:6, 3], expected[10:12, 12:14, 7] = 1, 2
    np.testing.assert_array_equal(labels, expected)


def test_several_predictions_get_a_file_each(tmp_path):
    item = ReadImaged("image")({"image": str(write_png(tmp_path))})
    item |= {"low": (item["image"] > 10).float(), "high": (item["image"] > LEVEL).float()}
    WriteMaskd(("low", "high"), output_dir=tmp_path / "out", overlay=False)(item)
    for key, level in (("low", 10), ("high", LEVEL)):
        mask = np.asarray(Image.open(tmp_path / "out" / f"v_{key}_mask.png"))
        np.testing.assert_array_equal(mask > 0, np.asarray(Image.open(tmp_path / "v.png")) > level)


def loaded(path: Path, **meta: object) -> MetaTensor:
    image = Compose([LoadImaged("image"), EnsureChannelFirstd("image")])({"image": str(path)})["image"]
    image.meta |= meta
    return image


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (
            lambda path: loaded(path).as_tensor(),
            "must be one of ReadImaged or of MONAI's LoadImaged, with its meta data",
        ),
        (lambda path: loaded(path, filename_or_obj=""), "must be one of ReadImaged or of MONAI's LoadImaged"),
        (lambda path: loaded(path, filename_or_obj=str(path) + "x"), "v.nii.gzx"),
        (lambda path: loaded(path)[:, :4], "a prediction of 16 x 20 x 12 for an image of 4 x 20 x 12 voxels"),
        (lambda path: loaded(path)[0, 0], "has 3 dimensions, the image has 1 and a channel"),
        (lambda path: loaded(path)[:, 0], "a prediction of 16 x 20 x 12 for an image of 1 x 20 x 12 voxels"),
        (lambda path: loaded(path, spatial_shape=[5, 6, 7]), "the image was read from a file of"),
        (lambda path: read_image(path), "must be one of ReadImaged"),
        (lambda path: loaded(path)[None], r"must be \(C, H, W\) or \(C, H, W, D\), got shape \(1, 1, 16, 20, 12\)"),
    ],
)
def test_where_it_is_impossible_one_line_says_so_and_nothing_is_written(tmp_path, make, line):
    path = write_nifti(tmp_path)
    item = {"image": make(path), "pred": torch.ones(1, 16, 20, 12)}
    with pytest.raises(InputError, match=line) as error:
        WriteMaskd("pred", output_dir=tmp_path / "out")(item)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
