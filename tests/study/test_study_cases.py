"""Tables of a study: read, drawn from phantoms, and refused with one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.study.cases import Case, borrow_absent, read_cases
from medclipsam_monai.study.phantom_table import draw_phantom_table
from medclipsam_monai.study.runner import Row
from medclipsam_monai.study.table import StudyTable, read_rows


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


def row_of(case: Case, dsc: float) -> Row:
    return Row(case.task, case.name, "m2ib", "otsu", "box", "P0", True, dsc, 0.5, 0.5, 1.0, 0.1, 0.2)


def make_patients(folder: Path) -> Path:
    """Two patients whose images have one base name, and a second mask of the first one's."""
    for patient in ("p1", "p2"):
        (folder / patient).mkdir()
        make_table(folder / patient, [("a", "image"), ("a", "second")])
    rows = ["a,p1/image.png,p1/image_mask.png,lungs", "a,p2/image.png,p2/image_mask.png,lungs"]
    table = folder / "table.csv"
    table.write_text("\n".join(["task,image,mask,target", *rows]) + "\n", encoding="utf-8")
    return table


def test_images_of_one_base_name_are_two_in_a_study_that_goes_on(tmp_path):
    cases = read_cases(make_patients(tmp_path))
    assert [case.name for case in cases] == ["p1/image.png", "p2/image.png"]
    study = StudyTable(tmp_path / "study", {"table": "t"})
    study.add(cases[0], [row_of(cases[0], 0.25)])
    again = StudyTable(tmp_path / "study", {"table": "t"})
    assert cases[0] in again and cases[1] not in again
    again.add(cases[1], [row_of(cases[1], 0.75)])
    for rows in (again.rows(cases), read_rows(tmp_path / "study")):
        assert [(row.image, row.dsc) for row in rows] == [("p1/image.png", 0.25), ("p2/image.png", 0.75)]


def test_an_image_with_two_masks_is_named_with_each(tmp_path):
    table = make_patients(tmp_path)
    table.write_text(table.read_text() + "a,p1/image.png,p1/second_mask.png,heart\n", encoding="utf-8")
    names = [case.name for case in read_cases(table)]
    expected = ["p1/image.png (lungs, image_mask.png)", "p2/image.png", "p1/image.png (heart, second_mask.png)"]
    assert names == expected
    table.write_text(table.read_text() + "a,p1/image.png,p1/second_mask.png,heart\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"two rows of the task 'a' for p1/image.png \(heart, second_mask.png\); keep"):
        read_cases(table)


def test_a_borrowed_image_has_another_name_than_any_own(tmp_path):
    (tmp_path / "b").mkdir()
    cases = read_cases(make_table(tmp_path, [("a", "b_x"), ("b", "x")]))
    borrowed = borrow_absent(cases, {"a": "b"})
    assert [case.name for case in (*cases, *borrowed)] == ["b_x.png", "x.png", "x.png (of b)"]


def test_names_too_long_for_a_file_have_parts_of_their_own(tmp_path):
    study = StudyTable(tmp_path, {})
    cases = [Case("a", Path("i.png"), Path("m.png"), "lungs", listed_as=f"{n}/{'лёгкие/' * 40}i.png") for n in (1, 2)]
    for number, case in enumerate(cases):
        study.add(case, [row_of(case, number / 2)])
    assert [row.dsc for row in study.rows(cases)] == [0.0, 0.5] and study.rows(cases)[1].image == cases[1].name


def test_a_study_of_base_names_is_not_gone_on_with(tmp_path):
    (tmp_path / "study.json").write_text('{"table": "t"}', encoding="utf-8")
    with pytest.raises(InputError, match="holds a study with another naming; give another folder or delete this one"):
        StudyTable(tmp_path, {"table": "t"})
