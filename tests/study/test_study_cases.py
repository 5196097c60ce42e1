"""Tables of a study: read, drawn from phantoms, and refused with one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medclipsam_monai.errors import InputError
from medclipsam_monai.study.cases import draw_phantom_table, read_cases


def make_table(folder: Path, rows: list[tuple[str, str]], mask_size: tuple[int, int] = (40, 32)) -> Path:
    """A table of grey pictures 40 wide and 32 high; rows are (task, name)."""
    lines = ["task,image,mask,target,finding"]
    for task, name in rows:
        pixels = np.random.default_rng(0).integers(0, 255, (32, 40), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
        mask = np.zeros(mask_size[::-1], np.uint8)
        mask[8:16, 8:20] = 255
        Image.fromarray(mask).save(folder / f"{name}_mask.png")
        lines.append(f"{task},{name}.png,{name}_mask.png,lungs,")
    table = folder / "table.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


def test_a_limit_spreads_over_each_task(tmp_path):
    table = make_table(tmp_path, [("a", f"a{n}") for n in range(6)] + [("b", "b0")])
    assert [case.image.stem for case in read_cases(table, limit=3)] == ["a0", "a2", "a4", "b0"]
    assert {case.task for case in read_cases(table, tasks=["b"])} == {"b"}
    assert len(read_cases(table)) == 7


def test_a_case_is_loaded_upright_with_its_mask(tmp_path):
    (case,) = read_cases(make_table(tmp_path, [("a", "a0")]))
    picture, mask = case.load()
    assert picture.shape == (3, 32, 40) and 0 <= float(picture.min()) <= float(picture.max()) <= 1
    assert int(mask.sum()) == 8 * 12 and bool(mask[8:16, 8:20].all())


def test_phantoms_come_with_and_without_their_target(tmp_path):
    cases = read_cases(draw_phantom_table(tmp_path, 6, ["breast_ultrasound"]))
    shown = [bool(case.load()[1].any()) for case in cases]
    assert len(cases) == 6 and 0 < sum(shown) < 6
    assert {case.finding for case, there in zip(cases, shown, strict=True) if there} <= {"benign", "malignant"}
    assert {case.finding for case, there in zip(cases, shown, strict=True) if not there} == {""}


def test_wrong_tables_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such table"):
        read_cases(tmp_path / "none.csv")
    table = make_table(tmp_path, [("a", "a0")])
    with pytest.raises(InputError, match="no row of the task 'c'"):
        read_cases(table, tasks=["c"])
    (tmp_path / "a0_mask.png").unlink()
    with pytest.raises(InputError, match=r"not there: .*a0_mask.png"):
        read_cases(table)
    table.write_text("task,image,target\na,a0.png,lungs\n", encoding="utf-8")
    with pytest.raises(InputError, match="no column 'mask'"):
        read_cases(table)
    with pytest.raises(InputError, match="no phantoms of 'skin'"):
        draw_phantom_table(tmp_path, 1, ["skin"])


def test_a_mask_of_another_size_is_refused(tmp_path):
    (case,) = read_cases(make_table(tmp_path, [("a", "a0")], mask_size=(32, 32)))
    with pytest.raises(InputError, match="is a mask of 32 x 32 for an image of 32 x 40"):
        case.load()
