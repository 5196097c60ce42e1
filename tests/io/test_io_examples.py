"""Folders of labelled examples: how images and masks are paired, and what is refused."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.examples import MOST_EXAMPLES, Examples, find_examples, read_examples


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)


def picture(seed=0, shape=(12, 16)):
    return np.random.default_rng(seed).integers(0, 256, shape)


def mask(shape=(12, 16)):
    values = np.zeros(shape)
    values[2:6, 3:9] = 255
    return values


def beside(folder, names=("a", "b"), ending="_mask"):
    for seed, name in enumerate(names):
        write(folder / f"{name}.png", picture(seed))
        write(folder / f"{name}{ending}.png", mask())
    return folder


def test_masks_lie_beside_their_images_or_in_a_folder_of_their_own(tmp_path):
    flat, apart = beside(tmp_path / "flat"), tmp_path / "apart"
    for name in ("a", "b"):
        (apart / "images").mkdir(parents=True, exist_ok=True)
        (apart / "labels").mkdir(exist_ok=True)
        shutil.copy(flat / f"{name}.png", apart / "images")
        shutil.copy(flat / f"{name}_mask.png", apart / "labels" / f"{name}.png")
    one, other = read_examples(flat), read_examples(apart)
    assert len(one) == len(other) == 2
    assert one.sha256 == other.sha256  # what the files are called does not matter
    assert torch.equal(one.masks[0], torch.from_numpy(mask() > 0))
    assert one.pictures[0].shape == (3, 12, 16)


@pytest.mark.parametrize("ending", ["_label", "_seg", "_segmentation"])
def test_other_endings_of_masks(tmp_path, ending):
    pairs = find_examples(beside(tmp_path / "e", ending=ending))
    assert [(source.stem, path.name) for source, path in pairs] == [("a", f"a{ending}.png"), ("b", f"b{ending}.png")]


def test_the_hash_tells_examples_apart_and_not_their_names(tmp_path):
    one, renamed, swapped = (beside(tmp_path / name) for name in ("one", "renamed", "swapped"))
    for part in ("", "_mask"):
        (renamed / f"a{part}.png").rename(renamed / f"z{part}.png")
    write(one / "b_mask.png", np.roll(mask(), 3, axis=0))
    shutil.copy(one / "b_mask.png", renamed / "b_mask.png")
    shutil.copy(one / "b_mask.png", swapped / "a_mask.png")
    assert read_examples(one).sha256 == read_examples(renamed).sha256 != read_examples(swapped).sha256


def lonely(folder):
    (beside(folder) / "b_mask.png").unlink()


def no_mask(folder):
    lonely(folder)
    (folder / "a_mask.png").unlink()


def other_size(folder):
    write(beside(folder) / "b_mask.png", mask((10, 16)))


def empty_mask(folder):
    write(beside(folder) / "b_mask.png", np.zeros((12, 16)))


def too_many(folder):
    beside(folder, [f"i{k:02}" for k in range(MOST_EXAMPLES + 1)])


def no_background(folder):
    write(beside(folder, ["a"]) / "a_mask.png", np.full((12, 16), 255))


def two_masks(folder):
    write(beside(folder) / "a_seg.png", mask())


def no_picture(folder):
    (beside(folder) / "b.png").write_text("words")


BAD = {
    lonely: r"b.png: has no mask; an example is an image with a mask beside it such as b_mask.png",
    no_mask: r"holds no mask of any image; expected names such as a_mask.png$",
    other_size: r"b_mask.png: is a mask of 10 x 16 for an image of 12 x 16",
    empty_mask: r"b_mask.png: is empty; the mask of an example must show what is looked for",
    too_many: r"there must be 1 to 16 labelled images, got 17",
    no_background: r"cover all of their pictures",
    two_masks: r"holds two masks of a: a_mask.png and a_seg.png",
    no_picture: r"b.png",
    lambda folder: folder.mkdir(): r"there must be 1 to 16 labelled images, got 0",
    lambda folder: None: r"is no folder of examples",
}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_what_cannot_be_used_is_said_in_one_line(tmp_path, make):
    make(tmp_path / "e")
    with pytest.raises(InputError, match=BAD[make]) as error:
        read_examples(tmp_path / "e")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        (((3, 4, 4), (4, 5)), r"example 1 must be a picture \(3, H, W\) and a mask \(H, W\)"),
        (((1, 4, 4), (4, 4)), r"example 1 must be a picture"),
    ],
)
def test_examples_in_memory_are_checked(shapes, reason):
    with pytest.raises(InputError, match=reason):
        Examples((torch.zeros(shapes[0]),), (torch.ones(shapes[1], dtype=torch.bool),))


def test_examples_in_memory_have_a_hash_of_their_values():
    masks = (torch.eye(4, dtype=torch.bool),)
    one, other = Examples((torch.zeros(3, 4, 4),), masks), Examples((torch.ones(3, 4, 4),), masks)
    assert len(one.sha256) == 64 and one.sha256 != other.sha256
    assert one.sha256 == Examples((torch.zeros(3, 4, 4),), masks).sha256
