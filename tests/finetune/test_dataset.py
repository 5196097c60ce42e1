from __future__ import annotations

import logging

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import Compose, RandShiftIntensityd
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.finetune.data import phantoms as image_text_phantoms
from medclipsam_monai.finetune.data.dataset import ImageTextDataset, load_pairs, load_split
from medclipsam_monai.finetune.data.pairs import Pair
from medclipsam_monai.networks.clip.preprocess import Preprocess

SQUASH = Preprocess(16, (0.4, 0.5, 0.6), (0.2, 0.2, 0.3))


def tokens(texts):
    return torch.tensor([[len(text), 0] for text in texts])


def save_png(path, array) -> str:
    Image.fromarray(np.asarray(array, np.uint8)).save(path)
    return str(path)


def make(pairs, **options) -> ImageTextDataset:
    return ImageTextDataset(pairs, tokens, options.pop("preprocess", SQUASH), **options)


def test_an_item_has_a_picture_in_0_to_1_token_numbers_and_labels(tmp_path):
    grey = save_png(tmp_path / "a.png", np.full((16, 16), 51))
    colour = save_png(tmp_path / "b.png", np.full((16, 16, 3), (255, 0, 102)))
    dataset = make([Pair(grey, "one", "p"), Pair(colour, "One", "q")])
    assert torch.equal(dataset[0]["image"], torch.full((3, 16, 16), 0.2))
    assert dataset[1]["image"][:, 3, 3].tolist() == pytest.approx([1, 0, 0.4])
    assert dataset[0]["text"].tolist() == [3, 0] and dataset[0]["name"] == grey
    assert (dataset.cases, dataset.captions) == ([0, 1], [0, 0])


def test_loaders_stack_the_images_also_after_one_of_monai_has_changed_how_torch_collates(tmp_path):
    paths = [save_png(tmp_path / f"{k}.png", np.full((16, 16), 51 * k)) for k in (1, 2)]
    list(DataLoader(Dataset([{"a": MetaTensor(torch.ones(1))}]), batch_size=1))
    (batch,) = torch.utils.data.DataLoader(make([Pair(path, "one", "p") for path in paths]), batch_size=2)
    assert type(batch["image"]) is torch.Tensor
    assert batch["image"][:, 0, 0, 0].tolist() == pytest.approx([0.2, 0.4])


def test_letterboxed_pictures_keep_their_proportions(tmp_path):
    wide = save_png(tmp_path / "w.png", np.full((20, 40), 255))
    image = make([Pair(wide, "c", "p")], preprocess=Preprocess(16, (0.4, 0.5, 0.6), (0.2, 0.2, 0.3), "letterbox"))[0]
    assert image["image"][:, 0, 0].tolist() == pytest.approx([0.4, 0.5, 0.6], abs=1 / 255)
    assert torch.equal(image["image"][:, 8], torch.ones(3, 16))


def test_a_slice_of_a_volume_is_the_one_named(tmp_path):
    path = tmp_path / "v.nii.gz"
    volume = np.zeros((16, 16, 4), np.float32)
    volume[..., 2], volume[0, 0] = 50, 100
    nib.save(nib.Nifti1Image(volume, np.eye(4)), path)
    dataset = make([Pair(str(path), "c", "p", n) for n in (1, 2)], window=(50, 100))
    assert [item["image"][0, 8, 8].item() for item in dataset] == pytest.approx([0, 0.5], abs=1 / 255)


def test_broken_files_are_counted_and_named_and_the_rest_goes_on(tmp_path, caplog):
    good = save_png(tmp_path / "good.png", np.zeros((16, 16)))
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:40])
    nib.save(nib.Nifti1Image(np.zeros((16, 16, 4), np.float32) + np.arange(4), np.eye(4)), tmp_path / "v.nii.gz")
    paths = [tmp_path / "cut.png", tmp_path / "gone.png", tmp_path / "v.nii.gz"]
    with caplog.at_level(logging.WARNING):
        dataset = make([*(Pair(str(p), "c", "p") for p in paths), Pair(good, "c", "p")])
    assert len(dataset) == 1 and dataset[0]["name"] == good
    assert [image for image, _ in dataset.broken] == [str(p) for p in paths]
    assert "3 of 4 images cannot be read" in caplog.text
    for part in ("cut.png", "gone.png", "volume of 4 slices"):
        assert part in caplog.text


def test_only_broken_files_are_an_error(tmp_path):
    with pytest.raises(InputError, match=r"none of the 2 images can be read, the first because: .*gone0"):
        make([Pair(str(tmp_path / f"gone{n}.png"), "c", "p") for n in range(2)])


def test_decoded_pictures_are_kept_on_disk_until_the_file_changes(tmp_path):
    path = save_png(tmp_path / "a.png", np.full((16, 16), 51))
    cache = tmp_path / "cache"
    first = make([Pair(path, "c", "p")], cache_dir=cache)[0]["image"]
    (kept,) = cache.glob("*.npy")
    np.save(kept, np.full((1, 16, 16), 102, np.uint8))
    assert make([Pair(path, "c", "p")], cache_dir=cache)[0]["image"][0, 0, 0] == pytest.approx(0.4)
    save_png(tmp_path / "a.png", np.full((16, 16, 3), 51))
    assert torch.equal(make([Pair(path, "c", "p")], cache_dir=cache)[0]["image"], first)


def test_augmentation_depends_on_seed_epoch_and_item_only():
    pairs = image_text_phantoms.phantom_pairs(2)
    transform = Compose([RandShiftIntensityd("image", offsets=0.5, prob=1.0)])
    one, other = (make(pairs, transform=transform, seed=5) for _ in range(2))
    one.set_epoch(3)
    other.set_epoch(3)
    first = one[1]["image"]
    one[0]
    assert torch.equal(other[1]["image"], first)
    other.set_epoch(4)
    assert not torch.equal(other[1]["image"], first)


def test_phantoms_are_pairs_like_any_other():
    pairs = load_pairs("phantoms", 5)
    assert len({pair.case for pair in pairs}) == 5 and pairs == load_pairs("phantoms", 5)
    assert len({pair.image.split("/")[0] for pair in pairs}) == 4
    assert min(len(pair.caption) for pair in pairs) > 5
    image = make(pairs)[4]["image"]
    assert image.shape == (3, 16, 16) and 0.05 < image.std() < 0.5


def test_a_part_of_one_pair_is_refused(tmp_path):
    for number in range(6):
        Image.new("L", (8, 8), number).save(tmp_path / f"{number}.png")
    rows = [f"{number}.png,the caption of picture number {number},{number}" for number in range(6)]
    table = tmp_path / "pairs.csv"
    table.write_text("\n".join(["image,caption,case", *rows]) + "\n")
    with pytest.raises(InputError, match=r"^\S*pairs.csv: 1 pair to hold out of 6, at least 2 are needed: [^\n]*$"):
        load_split(table)
    training, held = load_split(table, fraction=0.34)
    assert (len(training), len(held)) == (4, 2)
