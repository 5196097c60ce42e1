from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, decollate_batch
from monai.transforms import Compose
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image
from medclipsam_monai.io.label_maps import read_label_map
from medclipsam_monai.io.transforms import LabelsToChannels, ReadImaged, ReadLabeld, WriteMaskd
from medclipsam_monai.transforms import DisplayRanged


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
def test_what_goes_through_a_data_loader_lands_on_its_own_voxel(tmp_path, axis):
    """A bright voxel of an obliquely stored volume, found again by threshold, is written where it was."""
    data = np.zeros((9, 10, 11), np.float32)
    data[2, 7, 3] = 1000
    affine = np.array([[0, -2.0, 0, 5], [1.5, 0, 0, -4], [0, 0, -3.0, 7], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "v.nii.gz")
    steps = Compose([ReadImaged("image", slice_axis=axis), DisplayRanged("image", window="full")])
    loader = DataLoader(Dataset([{"image": str(tmp_path / "v.nii.gz")}], steps), batch_size=1)
    (batch,) = list(loader)
    batch["pred"] = batch["image"][:, :1] * (batch["image"][:, :1] > 0.5)
    for item in decollate_batch(batch):
        WriteMaskd("pred", output_dir=tmp_path / "out")(item)
    mask = nib.load(tmp_path / "out" / "v_mask.nii.gz")
    assert np.argwhere(np.asarray(mask.dataobj)).tolist() == [[2, 7, 3]]
    np.testing.assert_array_equal(mask.affine, affine)
    assert (tmp_path / "out" / "v_overlay.png").is_file()


def test_overlaps_of_classes_go_to_the_more_probable(tmp_path):
    Image.fromarray(np.full((8, 9), 50, np.uint8)).save(tmp_path / "p.png")
    item = DisplayRanged("image")(ReadImaged("image")({"image": tmp_path / "p.png"}))
    probability = torch.zeros(2, 8, 9)
    probability[0, :4], probability[1, 2:] = 0.7, 0.9
    WriteMaskd("pred", output_dir=tmp_path, overlay=False)({**item, "pred": probability})
    labels = np.array(Image.open(tmp_path / "p_mask.png"))
    assert labels[:, 0].tolist() == [1, 1, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("name", ["p_mask.png", "p_overlay.png"])
def test_what_lies_beside_the_image_is_kept_and_an_output_folder_is_written_again(tmp_path, name):
    Image.fromarray(np.full((8, 9), 50, np.uint8)).save(tmp_path / "p.png")
    item = DisplayRanged("image")(ReadImaged("image")({"image": tmp_path / "p.png"}))
    item["pred"] = torch.ones(1, 8, 9)
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(InputError, match=f"{name} is in the way: it is there already, beside an input"):
        WriteMaskd("pred", output_dir=tmp_path)(item)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("p_*")} == {name: b"mine"}
    for _ in range(2):
        WriteMaskd("pred", output_dir=tmp_path / "out")(item)
    assert (np.array(Image.open(tmp_path / "out" / "p_mask.png")) == 1).all()


@pytest.mark.parametrize(
    ("values", "classes", "expected"),
    [([0, 255, 1], 1, [[0, 1, 1]]), ([0, 2, 1], 2, [[0, 0, 1], [0, 1, 0]]), ([0, 3, 1], 2, [[0, 0, 1], [0, 0, 0]])],
)
def test_a_label_map_becomes_a_channel_a_class(values, classes, expected):
    assert LabelsToChannels(classes)(torch.tensor([[values]])).squeeze(1).tolist() == expected


def test_no_class_is_refused():
    with pytest.raises(ValueError, match="positive, got 0"):
        LabelsToChannels(0)


@pytest.mark.filterwarnings("ignore:.*turned by its EXIF tag")
@pytest.mark.parametrize("turn", [3, 6, 8])
def test_a_label_is_turned_as_its_image_is(tmp_path, turn):
    """The mask that is written for a turned picture, read as its label, lies where it was found."""
    exif = Image.Exif()
    exif[0x0112] = turn
    pixels = np.arange(96, dtype=np.uint8).reshape(8, 12)
    Image.fromarray(pixels).save(tmp_path / "p.png", exif=exif)
    item = ReadImaged("image")({"image": tmp_path / "p.png", "label": tmp_path / "p_mask.png"})
    WriteMaskd("pred", output_dir=tmp_path, overlay=False)({**item, "pred": (item["image"] > 60).float()})
    read = ReadLabeld("label")(item)
    np.testing.assert_array_equal(read["label"].numpy(), item["image"].numpy() > 60)
    geometry = read_image(tmp_path / "p.png").meta["geometry"]
    found = read_label_map(tmp_path / "p_mask.png", geometry, ["lungs"])
    np.testing.assert_array_equal(found, item["image"].numpy()[0] > 60)


def test_a_label_of_another_size_is_refused(tmp_path):
    Image.fromarray(np.zeros((8, 12), np.uint8)).save(tmp_path / "p.png")
    Image.fromarray(np.zeros((12, 8), np.uint8)).save(tmp_path / "l.png")
    item = ReadImaged("image")({"image": tmp_path / "p.png", "label": tmp_path / "l.png"})
    with pytest.raises(InputError, match=r"l\.png: is a label of 12 x 8 for an image of 8 x 12 \(rows x columns\)"):
        ReadLabeld("label")(item)
