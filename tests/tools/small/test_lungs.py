"""Lungs learnt from X-rays alone: which masks become a table, what is never opened, and what a score says."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object
from medclipsam_monai.phantoms import make_phantom
from tools.small import lungs
from tools.small.pictures import half_of, read_pictures
from tools.small.texts.words import COLUMN, PRESENT, UNKNOWN

SOURCE = "drawn"
SIDE = 128
TRAINED = [name for name in (f"xray_{k}" for k in range(40)) if half_of(f"{SOURCE}/{name}") == "train"][:4]
HELD_OUT = next(name for name in (f"xray_{k}" for k in range(40)) if half_of(f"{SOURCE}/{name}") == "test")
BLANK = TRAINED[3]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Three drawn X-rays and a blank picture to learn from, and one held out; their masks are not there."""
    folder = tmp_path_factory.mktemp("data")
    for number, name in enumerate([*TRAINED, HELD_OUT]):
        pixels = (255 * make_phantom("chest_xray", 5_600_000 + number, captions=0).image).round().astype(np.uint8)
        Image.fromarray(0 * pixels + 90 if name == BLANK else pixels).save(folder / f"{name}.png")
    with (folder / "segmentation.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("task", "image", "mask", "target", "finding", "source"))
        writer.writerows(
            ("lung_xray", f"{name}.png", f"kept_out/{name}.png", "lungs", "", SOURCE) for name in [*TRAINED, HELD_OUT]
        )
        writer.writerow(("breast_ultrasound", "breast.png", "kept_out/breast.png", "breast tumor", "", SOURCE))
    return folder


@pytest.fixture(scope="module")
def done(data, tmp_path_factory) -> tuple[Path, dict]:
    output = tmp_path_factory.mktemp("lungs")
    return output, lungs.run_round(data, "demo", output, 0, "cpu")


def test_masks_are_made_of_the_training_side_without_any_mask_being_there(data, done):
    output, record = done
    assert not (data / "kept_out").exists()
    rows = lungs.lung_rows(output)
    assert record == {"round": 0, "preset": "demo", "asked": 4, "accepted": len(rows)}
    assert read_object(output / "rounds.json") == {"rounds": [record]}
    names = {row.image.stem for row in rows}
    assert len(names) >= 2 and names <= set(TRAINED[:3])
    assert {row.image for row in rows} <= {(data / f"{name}.png").resolve() for name in TRAINED}
    assert all(row.kind == "chest_xray" and row.target == "lungs" and half_of(row.group) == "train" for row in rows)
    assert {row.group for row in rows} == {f"{SOURCE}/{name}" for name in names}


def test_a_mask_is_where_the_lungs_were_drawn_and_of_the_rest_nothing_is_known(done):
    for picture, row in zip(read_pictures(lungs.lung_rows(done[0])), lungs.lung_rows(done[0]), strict=True):
        number = TRAINED.index(row.image.stem)
        truth = make_phantom("chest_xray", 5_600_000 + number, captions=0).masks["lungs"]
        found = picture.masks["lungs"]
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.7
        assert picture.state[COLUMN["lungs"]] == PRESENT
        assert picture.state[COLUMN["heart"]] == picture.state[COLUMN["pleural effusion"]] == UNKNOWN


def test_what_the_gate_or_the_wordings_refuse_is_not_in_the_table(data, done, tmp_path, monkeypatch):
    first = {row.image.stem for row in lungs.lung_rows(done[0])}
    judged = {entry["stem"]: entry for entry in read_object(done[0] / "round_0" / "judged.json")["images"].values()}
    assert judged[BLANK] == {"stem": BLANK, "accepted": False}
    assert {name for name, entry in judged.items() if entry["accepted"]} == first
    best = max(first, key=lambda name: judged[name]["agreement"])
    monkeypatch.setattr(lungs, "LEAST_AGREEMENT", judged[best]["agreement"] - 1e-4)
    assert lungs.run_round(data, "demo", tmp_path, 3, "cpu")["accepted"] == 1
    assert [row.image.stem for row in lungs.lung_rows(tmp_path)] == [best]
    assert [path.name for path in (tmp_path / "masks").iterdir()] == [f"{best}.png"]
    monkeypatch.setattr(lungs, "LEAST_AGREEMENT", 1.0)
    with pytest.raises(InputError, match="none has two parts that the wordings agree on"):
        lungs.run_round(data, "demo", tmp_path, 4, "cpu")
    assert [one["round"] for one in read_object(tmp_path / "rounds.json")["rounds"]] == [3]


@pytest.mark.parametrize(
    ("parts", "accepted"),
    [
        ((slice(20, 50), slice(70, 100)), True),
        ((slice(20, 50), slice(70, 84)), True),  # 14 of 30 columns
        ((slice(20, 50), slice(70, 81)), False),  # 11 of 30
        ((slice(20, 50), slice(50, 80)), False),  # grown together
        ((slice(20, 50),), False),
    ],
)
def test_two_lungs_pass_and_one_does_not(data, monkeypatch, parts, accepted):
    mask = np.zeros((SIDE, SIDE), bool)
    for columns in parts:
        mask[20:100, columns] = True
    label = SimpleNamespace(mask=mask, image=data / f"{TRAINED[0]}.png")
    monkeypatch.setattr(lungs, "_mask", lambda path: path)
    monkeypatch.setattr(lungs, "prompt_disagreement", lambda *asked: 0.1)
    opener = SimpleNamespace(open=lambda image: SimpleNamespace(close=lambda: None))
    judged = lungs._judge(opener, label, lungs._target())
    assert judged["accepted"] is accepted and judged["agreement"] == 0.9


def test_a_score_is_the_dsc_with_the_masks_that_are_kept_out(tmp_path):
    """Halves of a square against the whole: 2 * 0.5 / 1.5; a refused mask that is right; one that is missing."""
    data, output = tmp_path / "data", tmp_path / "lungs"
    masks = output / "round_0" / "pseudo_labels"
    (data / "kept_out").mkdir(parents=True)
    masks.mkdir(parents=True)
    square = np.zeros((SIDE, SIDE), np.uint8)
    square[32:96, 32:96] = 1
    half = square.copy()
    half[64:] = 0
    found = {TRAINED[0]: half, TRAINED[1]: square}
    judged = {}
    lines = ["task,image,mask,target,finding,source"]
    for name in TRAINED[:3]:
        Image.fromarray(255 * square).save(data / "kept_out" / f"{name}.png")
        lines.append(f"lung_xray,{name}.png,kept_out/{name}.png,lungs,,{SOURCE}")
    for name, mask in found.items():
        Image.fromarray(mask).save(masks / f"{name}_mask.png")
        entry = {"stem": name, "accepted": name == TRAINED[0]}
        judged[str((data / f"{name}.png").resolve())] = entry
    (data / "segmentation.csv").write_text("\n".join(lines))
    lungs.write_json({"images": judged}, output / "round_0" / "judged.json")
    before = {"round": 0, "preset": "demo", "asked": 3, "accepted": 1}
    lungs.write_json({"rounds": [before, {**before, "round": 1}]}, output / "rounds.json")

    record = lungs.score_round(data, output, 0)

    accepted, asked = 2 * 0.5 / 1.5, (2 * 0.5 / 1.5 + 1 + 0) / 3
    assert record["dsc_accepted"] == {"mean": pytest.approx(accepted, abs=1e-4), "n": 1}
    assert record["dsc_asked"] == {"mean": pytest.approx(asked, abs=1e-4), "n": 3}
    assert read_object(output / "rounds.json") == {"rounds": [record, {**before, "round": 1}]}
    with pytest.raises(InputError, match="run the round first"):
        lungs.score_round(data, output, 7)


def test_data_without_such_images_is_one_line(tmp_path):
    (tmp_path / "segmentation.csv").write_text(
        f"task,image,mask,target,finding,source\nlung_xray,{HELD_OUT}.png,m.png,lungs,,{SOURCE}\n"
    )
    with pytest.raises(InputError, match="no image of task lung_xray is on the training side"):
        lungs.run_round(tmp_path, "demo", tmp_path / "lungs", 0, "cpu")
