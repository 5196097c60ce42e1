"""What a step of the small networks' training sees: kinds in their shares, drawn and real, and X-rays of the rounds."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.weights.clip_folder import build_clip
from medclipsam_monai.weights.pyramid_vit import medclipsam_pyramid_vit_224
from medclipsam_monai.weights.registry import resolve
from medclipsam_monai.weights.state_dicts import read_state_dict
from tools.small.anatomy import WAYS
from tools.small.course import open_course, training_rows
from tools.small.pictures import half_of
from tools.small.texts.vocabulary import copy_tokenizer, is_small, start_from
from tools.small.texts.words import COLUMN, PRESENT
from tools.small.train import Network
from tools.small.train import main as train
from tools.training.clip_files import write_clip_config

NAMES = [name for name in (f"patient_{k}" for k in range(40)) if half_of(f"drawn/{name}") == "train"]
REAL = (7, 7, 7)
"""A colour that no drawn picture consists of."""


def write_table(path: Path, rows: list[tuple[str, str, str]]) -> None:
    """Rows of (task, patient, target), all of one image and one mask."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("task", "image", "mask", "target", "finding", "source", "patient"))
        for number, (task, patient, target) in enumerate(rows):
            Image.new("RGB", (64, 64), REAL).save(path.parent / f"{number}.png")
            Image.new("L", (64, 64), 255).save(path.parent / "mask.png")
            writer.writerow((task, f"{number}.png", "mask.png", target, "", "drawn", patient))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("course")
    for place in ("data/open", "output/lungs"):
        (folder / place).mkdir(parents=True)
    tests = [f"patient_{k}" for k in range(40) if half_of(f"drawn/patient_{k}") == "test"]
    write_table(folder / "data" / "segmentation.csv", [("brain_mri", NAMES[0], "brain tumor")])
    rows = [("fetal_ultrasound", name, "fetal head") for name in (NAMES[1], *tests)]
    rows += [("breast_ultrasound", NAMES[2], "breast tumor")]
    write_table(folder / "data" / "open" / "segmentation.csv", rows)
    write_table(folder / "output" / "lungs" / "segmentation.csv", [("lung_xray", NAMES[3], "lungs")])
    return folder


def test_only_the_training_side_is_learnt_from(folder):
    rows = training_rows(folder / "data", "train")
    assert sorted(row.kind for row in rows) == ["brain_mri", "breast_ultrasound", "fetal_ultrasound"]
    assert {row.group for row in rows} == {f"drawn/{name}" for name in NAMES[:3]}


def test_kinds_come_in_their_shares_and_those_of_few_images_mostly_drawn(folder):
    course = open_course(folder / "data", folder / "output", pairs=4)
    rng = np.random.default_rng(0)
    pictures = [picture for _ in range(40) for picture in course(12, rng)]
    real = Counter(picture.kind for picture in pictures if (picture.pixels == REAL).all())
    assert set(real) == {"brain_mri", "breast_ultrasound", "fetal_ultrasound", "chest_xray"}
    # 8 of 12 are no phantoms. Kinds of one image count a twelfth of those that are drawn as well: 1 / sqrt(150).
    parts = {"torso_ct": 3, "brain_mri": 5, "breast_ultrasound": 1, "fetal_ultrasound": 0.0816, "chest_xray": 0.0816}
    a_part = 320 / sum(parts.values())
    for kind in ("brain_mri", "breast_ultrasound"):
        assert pytest.approx(real[kind], rel=0.35) == 0.4 * parts[kind] * a_part
    assert real["fetal_ultrasound"] + real["chest_xray"] == pytest.approx(2 * 0.0816 * a_part, abs=10)
    torsos = sum(picture.kind == "torso_ct" for picture in pictures)  # of which there are no images: all are drawn
    assert torsos == pytest.approx(3 * a_part, rel=0.25)
    assert len(pictures) == 480


def test_the_ways_to_draw_a_kind_take_turns(folder, monkeypatch):
    course = open_course(folder / "data", folder / "output", pairs=4)
    drawn = Counter()

    def way(name):
        def draw(rng):
            drawn[name] += 1
            return course.by_kind["brain_mri"][0]

        return draw

    monkeypatch.setitem(WAYS, "brain_mri", (way("one"), way("other")))
    rng = np.random.default_rng(0)
    for _ in range(40):
        course(12, rng)
    assert drawn["one"] == pytest.approx(drawn["other"], rel=0.4) and sum(drawn.values()) > 50


def test_x_rays_of_the_rounds_show_lungs_and_are_left_out_where_there_was_no_round(folder, tmp_path):
    course = open_course(folder / "data", folder / "output", pairs=4)
    (picture,) = course.by_kind["chest_xray"]
    assert picture.state[COLUMN["lungs"]] == PRESENT and picture.masks["lungs"].all()
    assert "chest_xray" not in open_course(folder / "data", tmp_path, pairs=4).by_kind


def test_training_goes_on_from_a_small_clip_as_it_is(tmp_path):
    start, folder = Path(resolve("small/clip")), tmp_path / "clip"
    assert is_small(start) and not is_small(Path(resolve("demo/clip")))
    copy_tokenizer(start, folder)
    write_clip_config(folder, medclipsam_pyramid_vit_224.__name__)
    clip = build_clip(folder)
    start_from(clip, folder, start)
    stored = read_state_dict(start / "open_clip_model.safetensors")
    state = clip.state_dict()
    assert stored.keys() <= state.keys()
    for name, value in stored.items():
        assert torch.equal(state[name].to(value.dtype), value), name
    assert (folder / "vocab.txt").read_bytes() == (start / "vocab.txt").read_bytes()


@pytest.mark.minutes
def test_one_command_trains_with_masks_of_lungs_made_before_half_way_and_for_the_sam(folder, tmp_path, monkeypatch):
    data = tmp_path / "data"
    shutil.copytree(folder / "data", data)
    with (data / "segmentation.csv").open("a") as file:
        file.write(f"lung_xray,0.png,nowhere.png,lungs,,drawn,{NAMES[3]}\n")
    asked = []

    def make_masks(data: Path, preset: str, output: Path, number: int, device: str) -> None:
        trained = json.loads(Path(preset).read_text())["clip"] if number else None
        asked.append((number, None if trained is None else load_text_image_encoder(trained).grid))
        output.mkdir(exist_ok=True)
        write_table(output / "segmentation.csv", [("lung_xray", NAMES[3], "lungs")])
        records = [{"round": n} for n in range(number + 1)]
        (output / "rounds.json").write_text(json.dumps({"rounds": records}))

    monkeypatch.setattr("tools.small.train.run_round", make_masks)
    options = {"clip_steps": 4, "sam_steps": 1, "pairs": 4, "workers": 1, "device": "cpu"}
    train(data, tmp_path / "small", only=Network.clip, **options)
    assert asked == [(0, None), (1, (28, 28))]
    for _ in range(2):  # the second time all is done already
        train(data, tmp_path / "small", **options)
        assert asked == [(0, None), (1, (28, 28)), (2, (28, 28))]
    made = json.loads((tmp_path / "small" / "preset.json").read_text())
    assert [Path(made[name]) for name in ("clip", "sam")] == [tmp_path / "small" / name for name in ("clip", "sam")]
    assert torch.load(tmp_path / "small" / "clip.checkpoint", weights_only=True)["done"] == 4
    assert json.loads((tmp_path / "small" / "training.json").read_text())["clip"]["steps"] == 4
