"""What the source of an archive means, and what is refused before anything starts."""

from __future__ import annotations

import sys

import pytest

from medclipsam_monai.archive.rows import check_carried, done_row, failed_row
from medclipsam_monai.archive.sources import list_images
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.phantoms.dicom import write_phantom_volume


def table(folder, *lines):
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_folder_and_a_glob_are_what_they_are_to_segment(pictures):
    of_folder, of_glob = list_images(pictures), list_images(pictures / "x*.png")
    assert [item.source.stem for item in of_folder.items] == [
        "brain_tumour",
        "broken",
        "ct_chest",
        "xray_normal",
        "xray_pacemaker",
    ]
    assert [item.source.stem for item in of_glob.items] == ["xray_normal", "xray_pacemaker"]
    assert of_glob.items[0].path == str(pictures / "xray_normal.png") and not of_glob.columns


def test_a_table_says_paths_names_texts_and_what_is_carried_through(pictures):
    path = table(
        pictures.parent,
        "patient,path,text,name",
        "p1,in/xray_normal.png,heart; lungs,first",
        "p2,in/ct_chest.png,,",
        "p3,in/none.png,,",
    )
    first, second, gone = list_images(path).items
    assert (first.source.stem, first.texts, first.carried) == ("first", ("heart", "lungs"), {"patient": "p1"})
    assert (second.source.stem, second.texts, second.path) == ("ct_chest", (), "in/ct_chest.png")
    assert gone.source is None and gone.error == f"{pictures / 'none.png'}: no such file or folder"
    assert dict(list_images(path).columns) == {"patient": None}


def test_a_row_may_be_the_folder_of_a_series(tmp_path):
    write_phantom_volume(tmp_path / "ct", slices=4)
    (item,) = list_images(table(tmp_path, "path", "ct")).items
    assert len(item.source.paths) == 4 and (item.path, item.source.stem) == ("ct", "ct")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["image,patient", "a.png,1"], "has no column 'path'; it has 'image', 'patient'"),
        (["path,patient"], "has no rows"),
        (["path,patient", "in/ct_chest.png,1", ",2"], "row 2 has no path; give each row the path of an image"),
        (["path", "in/ct_chest.png", "in/./ct_chest.png"], "two rows have the path"),
        (["path,name", "in/ct_chest.png,a", "in/xray_normal.png,a"], "two rows have the name 'a'"),
        (["path,patient", "in/ct_chest.png"], "row 1 has not as many cells as the first line"),
        (["path,path", "a,b"], "has two columns of one name"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(pictures, lines, told):
    with pytest.raises(InputError) as error:
        list_images(table(pictures.parent, *lines))
    assert told in str(error.value) and "\n" not in str(error.value)


def test_a_name_that_leads_out_of_the_folder_is_the_error_of_its_row(pictures):
    items = list_images(table(pictures.parent, "path,name", "in/ct_chest.png,../a", "in/xray_normal.png,b")).items
    assert items[0].source is None and "must be plain" in items[0].error
    assert items[1].source.stem == "b"


def test_no_source_is_one_line(tmp_path):
    for name in ("none", "none.csv"):
        with pytest.raises(InputError, match="no such"):
            list_images(tmp_path / name)


def test_a_row_has_what_the_record_says_and_what_is_carried_through(pictures):
    item = list_images(table(pictures.parent, "path,patient", "in/ct_chest.png,p1")).items[0]
    record = {
        "texts": {"lungs": ["lungs"]},
        "classes": [{"name": "lungs", "presence": 0.9, "size": 4, "unit": "pixels", "quality": 0.8, "pixels": 4}],
        "seconds": 1.5,
        "input_sha256": "a",
        "request": "b",
        "weights": {"clip": "c", "sam": "d"},
        "preset": "demo",
        "version": "1",
        "outputs": {"ct_chest_mask.png": "e"},
        "warnings": ["look"],
    }
    row = done_row(item, record)
    assert (row["state"], row["error"], row["name"], row["patient"]) == ("done", None, "ct_chest", "p1")
    assert (row["clip_sha256"], row["sam_sha256"], row["mask"]) == ("c", "d", "ct_chest_mask.png")
    assert row["classes"][0]["quality"] == 0.8 and "pixels" not in row["classes"][0]
    failed = failed_row(item, "why")
    assert (failed["state"], failed["error"], failed["patient"], failed["request"]) == ("failed", "why", "p1", None)
    assert list(failed) == list(row)


def test_a_carried_column_cannot_stand_for_one_of_ours():
    check_carried(["patient"])
    for name in ("state", "State"):
        with pytest.raises(InputError, match=f"'{name}' of the table is one of the results' own"):
            check_carried(["patient", name])
    with pytest.raises(InputError, match="'Patient' and 'patient' of the table differ only in capitals"):
        check_carried(["Patient", "side", "patient"])


def test_without_ray_the_command_says_what_to_install(command, monkeypatch, pictures, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, out, err = command("archive", pictures, "-o", tmp_path / "out", "-t", "lungs", "--preset", "demo")
    assert (code, out) == (2, "")
    assert err == "medclipsam: archive needs Ray Data: pip install 'medclipsam-monai[archive]'\n"
