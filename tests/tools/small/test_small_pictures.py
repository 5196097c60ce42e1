"""The pictures that the small networks learn from: read, split by patient, varied with their masks."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from medclipsam_monai.base.errors import InputError
from tools.small.pictures import HALVES, LONGEST, Picture, group_mask, half_of, read_pictures, read_rows
from tools.small.texts.words import COLUMN, PRESENT, states
from tools.small.variation import place, shades

HEIGHT, WIDTH = 200, 400
HEAD = (slice(50, 150), slice(100, 200))  # rows, columns


@pytest.fixture
def table(tmp_path) -> Path:
    pixels, mask = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[HEAD], mask[HEAD] = 200, 255
    Image.fromarray(pixels).save(tmp_path / "image.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(0 * mask).save(tmp_path / "empty.png")
    rows = [
        ("nerve_ultrasound", "image.png", "mask.png", "nerve", "", "us_usgra", ""),
        ("nerve_ultrasound", "image.png", "empty.png", "blood vessel", "", "us_usgra", ""),
        ("knee_mri", "image.png", "mask.png", "meniscus", "", "other", ""),
    ]
    with (tmp_path / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("task", "image", "mask", "target", "finding", "source", "patient"))
        writer.writerows(rows)
    return tmp_path / "table.csv"


def test_rows_of_one_image_are_one_picture_and_an_empty_mask_is_an_absence(table):
    (picture,) = read_pictures(read_rows(table))
    assert picture.kind == "nerve_ultrasound" and picture.pixels.shape == (LONGEST // 2, LONGEST, 3)
    assert set(picture.masks) == {"nerve"}
    assert picture.state[COLUMN["nerve"]] == PRESENT and picture.state[COLUMN["blood vessel"]] == 0
    scale = LONGEST / WIDTH
    rows, columns = np.nonzero(picture.masks["nerve"])
    found = (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1)
    np.testing.assert_allclose(found, scale * np.array([50, 150, 100, 200]), atol=1)
    assert (picture.pixels[picture.masks["nerve"]] > 150).all()


def test_a_table_that_is_not_there_or_has_no_such_task_is_one_line(table):
    with pytest.raises(InputError, match="there is no such table"):
        read_rows(table.parent / "nothing.csv")
    with pytest.raises(InputError, match="no row of one of the tasks elbow_mri"):
        read_rows(table, {"elbow_mri": "brain_mri"})


def test_a_patients_images_stay_together_and_the_halves_have_their_shares():
    halves = [half_of(f"set/patient {k}") for k in range(4000)]
    shares = [halves.count(half) / len(halves) for half in HALVES]
    np.testing.assert_allclose(shares, [0.65, 0.10, 0.25], atol=0.03)
    assert half_of("set/patient 7") == half_of("set/patient 7")


def test_frames_of_a_video_are_one_group(table):
    text = table.read_text()
    rows = [text.splitlines()[0]]
    for name in ("0003", "0024", "0025", "test_0003"):
        rows.append(f"nerve_ultrasound,{name}.png,mask.png,nerve,,us_usgra,")
    table.write_text("\n".join(rows) + "\n")
    groups = [row.group for row in read_rows(table)]
    assert groups[0] == groups[1] and len(set(groups)) == 3


def a_picture(kind: str = "fetal_ultrasound") -> Picture:
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[HEAD] = 255
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[HEAD] = True
    return Picture(kind, pixels, {"fetal head": mask}, states(kind, {"fetal head"}))


@pytest.mark.parametrize("letterbox", [False, True])
def test_unvaried_a_picture_lies_in_the_square_as_the_networks_put_it(letterbox):
    picture = a_picture()
    placed = place(picture, 256, letterbox, np.random.default_rng(0), strength=0)
    found = placed.masks(picture.masks["fetal head"][None])[0]
    size = (128, 256) if letterbox else (256, 256)
    expected = F.interpolate(torch.from_numpy(picture.masks["fetal head"]).float()[None, None], size, mode="bilinear")
    expected = F.pad(expected[0, 0], (0, 0, 0, 256 - size[0]))
    assert float((found - expected).abs().max()) < 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_masks_move_with_the_pixels(seed):
    picture = a_picture()
    placed = place(picture, 256, seed % 2 == 0, np.random.default_rng(seed))
    pixels, mask = (
        placed.pixels(picture.pixels.transpose(2, 0, 1) / 255)[0],
        placed.masks(picture.masks["fetal head"][None])[0],
    )
    assert float((pixels - mask).abs().max()) < 1e-4 and 200 < float(mask.sum()) < 256 * 256


@pytest.mark.parametrize("kind", ["fetal_ultrasound", "liver_ct", "cell_microscopy"])
def test_shades_stay_shades_and_differ(kind):
    rng = np.random.default_rng(0)
    varied = [shades(a_picture(kind), rng) for _ in range(8)]
    assert all(x.shape == (3, HEIGHT, WIDTH) and x.min() >= 0 and x.max() <= 1 for x in varied)
    assert np.std([x.mean() for x in varied]) > 0.005
    if kind != "cell_microscopy":
        assert all(np.array_equal(x[0], x[1]) and np.array_equal(x[0], x[2]) for x in varied)


def test_a_group_lies_where_its_members_do():
    mask = np.zeros((10, 10), bool)
    mask[2:4] = True
    picture = Picture("breast_ultrasound", np.zeros((10, 10, 3), np.uint8), {"benign tumour": mask, "cyst": ~mask},
                      states("breast_ultrasound", {"benign tumour", "cyst"}))  # fmt: skip
    np.testing.assert_array_equal(group_mask(picture, "breast tumour"), mask)
    assert group_mask(picture, "abnormality").all() and group_mask(picture, "brain tumour") is None
