"""The figures of segmentation by examples: which images count, and one row a task."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from medclipsam_monai.networks.universeg import UniverSeg
from tools.figures import few_shot
from tools.small.measure import TASKS
from tools.small.pictures import half_of

LIVER = next(task for task in TASKS if task.name == "liver_ct")


@pytest.fixture
def data(tmp_path):
    """A table of one task with some images in each half, all alike: a bright disk on the left."""
    folder, rows = tmp_path / "open", []
    folder.mkdir()
    names = {"train": [], "choose": [], "test": []}
    for number in range(200):
        half = half_of(f"s/{number}")
        if len(names[half]) < 3:
            names[half].append(number)
    for number in (number for some in names.values() for number in some):
        y, x = np.mgrid[:48, :48]
        disk = (y - 24) ** 2 + (x - 14 - number % 3) ** 2 < 64
        Image.fromarray(np.where(disk, 200, 40).astype(np.uint8)).save(folder / f"{number}.png")
        Image.fromarray(disk.astype(np.uint8) * 255).save(folder / f"{number}_mask.png")
        rows.append({"task": "liver_ct", "image": f"{number}.png", "mask": f"{number}_mask.png", "target": "liver",
                     "finding": "", "source": "s", "patient": number})  # fmt: skip
    with (folder / "segmentation.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path


def test_examples_come_from_what_training_saw_and_targets_from_the_rest(data):
    pool = few_shot.labelled(data, LIVER, ("train",), 2, seed=0)
    again = few_shot.labelled(data, LIVER, ("train",), 2, seed=0)
    assert len(pool) == 2 and all(torch.equal(a[0], b[0]) for a, b in zip(pool, again, strict=True))
    assert len(few_shot.labelled(data, LIVER, ("test",), 0)) == 3
    assert pool[0][0].shape == (3, 48, 48) and pool[0][1].dtype == torch.bool


@pytest.mark.slow
def test_a_row_a_task_and_a_column_a_way(data, tiny_preset, tmp_path):
    torch.save(UniverSeg((4, 4)).state_dict(), tmp_path / "u.pt")
    words = [str(data), "--preset", str(tiny_preset), "--limit", "1", "--examples", "1", "--examples", "2"]
    words += ["--draws", "1", "--only", "liver_ct", "--universeg", str(tmp_path / "u.pt"), "--device", "cpu"]
    app = few_shot.typer.Typer()
    app.command()(few_shot.main)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    header, _, row, mean = [line.strip("| ").split(" | ") for line in result.stdout.splitlines() if "|" in line]
    rivals = ["salip", "samaug_random", "samaug_entropy", "samaug_distance", "samaug_saliency"]
    shown = [f"{n}{what}" for n in (1, 2) for what in (" examples", " and text", ", UniverSeg")]
    assert header == ["text and picture", "set", "n", "text", *rivals, *shown]
    assert row[2] == "1" and all(0 <= float(value) <= 1 for value in row[3:])
    assert mean[-len(rivals) - len(shown) - 1 :] == row[3:]
