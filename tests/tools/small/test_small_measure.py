"""The table of what the small networks find in real images, on two drawn ones."""

from __future__ import annotations

import csv
from itertools import count

import numpy as np
import pytest
from PIL import Image

from tools.small.measure import main
from tools.small.pictures import half_of

SQUARE = (slice(60, 120), slice(80, 160))


@pytest.fixture
def data(tmp_path):
    held_out = (name for number in count() if half_of(f"set/{(name := str(number))}") == "test")
    rows = []
    for task, target, grey in (("liver_ct", "liver", 40), ("hippocampus_mri", "hippocampus", 120)):
        pixels, mask = np.full((256, 256), grey, np.uint8), np.zeros((256, 256), np.uint8)
        pixels[SQUARE], mask[SQUARE] = 200, 255
        Image.fromarray(pixels).save(tmp_path / f"{task}.png")
        Image.fromarray(mask).save(tmp_path / f"{task}_mask.png")
        rows.append((task, f"{task}.png", f"{task}_mask.png", target, "", "set", next(held_out)))
    (tmp_path / "open").mkdir()
    with (tmp_path / "open" / "segmentation.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("task", "image", "mask", "target", "finding", "source", "patient"))
        writer.writerows((task, f"../{image}", f"../{mask}", *rest) for task, image, mask, *rest in rows)
    return tmp_path


def test_a_row_a_task_with_what_costs_nothing_beside_it(data, capsys):
    main(data, preset="demo", only=["liver_ct", "hippocampus_mri"], pictures=data / "look", device="cpu")
    head, _, *rows = (line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines())
    assert len(rows) == 2 and all(len(row) == len(head) for row in rows)
    cells = dict(zip(head, rows[0], strict=True))
    assert [cells[name] for name in ("text and picture", "set", "n", "patients")] == [
        "liver, CT",
        "MSD Task03",
        "1",
        "1",
    ]
    assert float(cells["whole true box"]) == 1.0  # the target is a box
    height, width = 60, 80
    ellipse = 2 * (np.pi / 4) / (1 + np.pi / 4)
    assert float(cells["ellipse in it"]) == pytest.approx(ellipse, abs=1 / min(height, width))
    assert float(cells["SAM in the true box"]) > 0.8
    assert 0 <= float(cells["DSC"].strip("*")) <= 1 and cells["presence AUC"] in ("0.000", "1.000")
    assert sorted(path.name for path in (data / "look").glob("*.png")) == ["hippocampus_mri.png", "liver_ct.png"]
