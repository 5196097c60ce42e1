"""`ReadImaged` takes what a host has read already, and an answer goes back on the host's own grid."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from dicom_files import write_series
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd, Invertd, LoadImaged, Orientationd
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image
from medclipsam_monai.io.transforms import AnswerOnFiled, LabelMapd, ReadImaged, WriteMaskd
from medclipsam_monai.transforms import DisplayRanged

NUMBERS = np.random.default_rng(0).integers(0, 200, (16, 14, 10)).astype(np.int16)
AFFINE = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, -4], [0, 0, -3.0, 7], [0, 0, 0, 1]])
PRE = Compose([ReadImaged("image"), DisplayRanged("image", window="full")])
POST = Compose(
    [LabelMapd("pred"), Invertd("pred", PRE, orig_keys="image", nearest_interp=False), AnswerOnFiled("pred")]
)


def as_deploy_gives_it() -> MetaTensor:
    """What MONAI Deploy's operator makes of a DICOM series: (W, H, D) without a channel, and its meta data."""
    meta = {
        "affine": AFFINE.copy(),
        "original_affine": AFFINE.copy(),
        "spatial_shape": np.array(NUMBERS.shape),
        "original_channel_dim": "no_channel",
        "space": "RAS",
        "SeriesInstanceUID": "1.2.3",
    }
    return MetaTensor.ensure_torch_and_prune_meta(NUMBERS.copy(), meta)


def as_monai_reads_it(tmp_path: Path) -> MetaTensor:
    nib.save(nib.Nifti1Image(NUMBERS, AFFINE), tmp_path / "v.nii")
    return Compose([LoadImaged("image"), EnsureChannelFirstd("image")])({"image": str(tmp_path / "v.nii")})["image"]


def bright(data: dict) -> dict:
    """A prediction: what is above the middle of the display range."""
    return {**data, "pred": (data["image"][:1] > 0.5).float()}


@pytest.mark.parametrize("host", ["deploy", "monai", "file"])
def test_a_volume_is_shown_alike_whoever_read_it_and_the_answer_lies_on_its_voxels(tmp_path, host):
    read = as_monai_reads_it(tmp_path)
    given = {"deploy": as_deploy_gives_it(), "monai": read, "file": str(tmp_path / "v.nii")}[host]
    data = PRE({"image": given})
    np.testing.assert_array_equal(data["image"].numpy(), PRE({"image": str(tmp_path / "v.nii")})["image"].numpy())
    answer = POST(bright(data))["pred"]
    np.testing.assert_array_equal(answer.numpy(), (NUMBERS.max() / 2 < NUMBERS)[None])
    np.testing.assert_allclose(answer.affine, AFFINE)
    assert answer.dtype == torch.uint8 and given is not data["image"]
    if host == "deploy":
        assert data["image"].meta["SeriesInstanceUID"] == "1.2.3" and data["image"].meta["space"] == "RAS"


def test_a_turned_volume_goes_back_on_the_turned_grid(tmp_path):
    turned = Orientationd("image", axcodes="SPL", labels=None)({"image": as_monai_reads_it(tmp_path)})
    answer = POST(bright(PRE(turned)))["pred"]
    np.testing.assert_array_equal(answer.numpy(), turned["image"].numpy() > NUMBERS.max() / 2)


def test_an_array_is_a_picture_with_its_rows_first():
    pixels = NUMBERS[..., 0].astype(np.uint8)
    data = POST(bright(PRE({"image": pixels})))
    np.testing.assert_array_equal(data["pred"].numpy(), (pixels > pixels.max() / 2)[None])
    assert "result_extension" not in data
    with pytest.raises(InputError, match="was in memory, so there is no file"):
        WriteMaskd("pred")(bright(PRE({"image": pixels})))


@pytest.mark.parametrize(
    ("name", "suffix"), [("p.png", ".png"), ("p.jpg", ".png"), ("p.tif", ".png"), ("plane.nii", ".nii.gz")]
)
def test_an_image_of_the_plane_comes_as_its_file_has_it(tmp_path, name, suffix):
    """A picture (X, Y) without a channel, and with a place in space (1, X, Y, 1), for MONAI Label's writer."""
    pixels, path = NUMBERS[..., 0].astype(np.uint8), tmp_path / name
    if suffix == ".png":
        Image.fromarray(pixels).save(path)
        shown = np.asarray(Image.open(path)).T
    else:
        nib.save(nib.Nifti1Image(pixels, AFFINE), path)
        shown = pixels[None, ..., None]
    data = POST(bright(PRE({"image": str(path)})))
    low, high = float(read_image(path).min()), float(read_image(path).max())
    np.testing.assert_array_equal(data["pred"].numpy(), (shown - low) / (high - low) > 0.5)
    assert data["result_extension"] == suffix
    shape = list(data["image"].meta["spatial_shape"])
    assert shape == list(data["pred"].shape[-len(shape) :])
    asked = POST({**bright(PRE({"image": str(path)})), "result_extension": ".nrrd"})
    assert asked["result_extension"] == ".nrrd"


@pytest.mark.filterwarnings("ignore:.*slices are 1.00 to 2.00 mm apart")
def test_slices_that_are_not_even_are_laid_as_our_own_mask_is(tmp_path):
    for place, step in ((0, 1.0), (1, 2.0)):
        write_series(tmp_path / str(place), NUMBERS[:3].copy() + place, step=step, SeriesInstanceUID="1.2.9")
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate([*(tmp_path / "0").iterdir(), *sorted((tmp_path / "1").iterdir())[2:]]):
        path.rename(flat / f"{number}.dcm")
    data = bright(PRE({"image": str(flat)}))
    WriteMaskd("pred", output_dir=tmp_path / "out", overlay=False)(data)
    (ours,) = (tmp_path / "out").iterdir()
    answer = POST(data)
    np.testing.assert_array_equal(answer["pred"][0].numpy(), np.asarray(nib.load(ours).dataobj))
    np.testing.assert_allclose(answer["image"].meta["original_affine"], nib.load(ours).affine, atol=1e-4)
    assert list(answer["image"].meta["spatial_shape"]) == list(answer["pred"].shape[1:])
