"""What the source of an archive means, and what is refused before anything starts."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

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
        (["path", "in/none.png", "in/./none.png"], "two rows have the path"),
        (["path,name", "in/ct_chest.png,a", "in/xray_normal.png,a"], "two rows have the name 'a'"),
        (["path,name", "a.png,X", "b.png,y", "c.png,x"], "two rows have the name 'x', row 1 as 'X' and row 3 as 'x'"),
        (["path,patient", "in/ct_chest.png"], "row 1 has not as many cells as the first line"),
        (["path,path", "a,b"], "has two columns of one name"),
        ([""], "the first line must hold the columns' names, path among them; it is empty"),
        (["", "path", "in/ct_chest.png"], "the first line must hold the columns' names"),
        (["path,,", "in/ct_chest.png,,"], "column 2 has no name; give it one, or drop the column"),
        (["path,patient, ", "in/ct_chest.png,1,"], "column 3 has no name"),
        (["Path,patient", "in/ct_chest.png,1"], "the column 'Path' must be written 'path', or have another name"),
        (["path,TEXT", "in/ct_chest.png,lungs"], "the column 'TEXT' must be written 'text'"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(pictures, lines, told):
    with pytest.raises(InputError) as error:
        list_images(table(pictures.parent, *lines))
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.fixture
def two(pictures, tmp_path):
    """A folder with in/a.png and in/b.png, and links to "in" and to a.png."""
    for folder in ("in", "sub"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b"):
        shutil.copy(pictures / "ct_chest.png", tmp_path / "in" / f"{name}.png")
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "c.png").symlink_to("in/a.png")
    return tmp_path


@pytest.mark.parametrize(
    ("first", "second", "path"),
    [
        ("in/a.png", "sub/../in/a.png", "sub/../in/a.png"),
        ("in/a.png", "{here}/sub/../in/a.png", "sub/../in/a.png"),
        ("in/a.png", "link/a.png", "link/a.png"),
        ("c.png", "in/a.png", "in/a.png"),
        ("in", "in/b.png", "in/b.png"),
        ("link/b.png", "in", "in/b.png"),
        ("in", "link", "link/a.png"),
    ],
)
def test_one_image_in_two_rows_is_refused_however_they_spell_it(two, first, second, path):
    first, second = first.format(here=two), second.format(here=two)
    with pytest.raises(InputError) as caught:
        list_images(table(two, "path,patient", f"{first},1", f"{second},2"))
    assert str(caught.value) == (
        f"{two / 'table.csv'}: two rows have the path '{two / path}', row 1 as {first!r} and row 2 as {second!r}; each "
        "image needs one of its own"
    )


def test_a_slice_may_stand_beside_its_series(tmp_path):
    write_phantom_volume(tmp_path / "ct", slices=4)
    first = sorted((tmp_path / "ct").iterdir())[0].rename(tmp_path / "ct" / "ct.dcm")
    series, alone = list_images(table(tmp_path, "path", "ct", "ct/ct.dcm")).items
    assert (len(series.source.paths), alone.source.paths) == (4, (first,))
    assert series.source.stem != alone.source.stem


@pytest.mark.parametrize("name", ["../a", "x\\y", ".a", "a\tb", "a" * 121, "é" * 61])
def test_a_name_that_cannot_be_kept_is_the_error_of_its_row(two, name):
    items = list_images(table(two, "path,name", f"in/a.png,{name}", "in/b.png,b")).items
    assert items[0].source is None and items[0].error == (
        f"{two / 'in/a.png'}: the name {name!r} must be plain, without folders and a dot in front, printable, and of "
        "at most 120 bytes"
    )
    assert items[1].source.stem == "b"


def test_images_without_a_name_give_way_to_names_that_are_given(two):
    def stems(*rows):
        return [item.source.stem for item in list_images(table(two, "path,name", *rows)).items]

    named, other = stems("in/a.png,b", "in/b.png,")
    assert named == "b" and re.fullmatch("b_[0-9a-f]{8}", other)
    assert stems("in/b.png,", "in/a.png,b") == [other, "b"]  # whichever comes first
    assert stems("in/b.png,", "in/a.png,B") == [other, "B"]
    assert stems("in/b.png,", f"in/a.png,{'ü' * 60}") == ["b", "ü" * 60]


def test_what_a_folder_with_a_name_holds_begins_with_it(two):
    shutil.copy(two / "in/a.png", two / "sub/x.png")
    items = list_images(table(two, "path,name", "in,n", "sub/x.png,n_b")).items
    first, second, named = [item.source.stem for item in items]
    assert (first, named) == ("n_a", "n_b") and re.fullmatch("n_b_[0-9a-f]{8}", second)


def test_a_path_that_cannot_be_looked_at_is_the_error_of_its_row(two, monkeypatch):
    exists = Path.exists

    def closed(path):
        if path.parent.name == "closed":
            raise PermissionError(13, "Permission denied")
        return exists(path)

    monkeypatch.setattr(Path, "exists", closed)
    long = "a" * 300
    paths = f"{long}.png", "closed/a.png", "~nosuch-user/a.png", "in/a.png"
    *failed, used = list_images(table(two, "path", *paths)).items
    assert [(item.path, item.source) for item in failed] == [(path, None) for path in paths[:3]]
    assert [item.error for item in failed] == [
        f"{two / paths[0]}: cannot be opened: File name too long",
        f"{two / paths[1]}: cannot be opened: Permission denied",
        "~nosuch-user/a.png: ~nosuch-user has no home folder here; give the path in full",
    ]
    assert used.source.stem == "a"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("none", "{here}/none: no such file or folder"),
        ("none.csv", "{here}/none.csv: no such table"),
        ("~nosuch-user", "~nosuch-user: ~nosuch-user has no home folder here; give the path in full"),
        ("~nosuch-user/t.csv", "~nosuch-user/t.csv: ~nosuch-user has no home folder here; give the path in full"),
        ("a" * 300, "{here}/" + "a" * 300 + ": cannot be opened: File name too long"),
        ("a" * 300 + ".csv", "{here}/" + "a" * 300 + ".csv: cannot be opened: File name too long"),
        ("*.csv", "{here}/*.csv: matches a table; give one table by its name, or a glob of images"),
        ("sub/*.csv", "{here}/sub/*.csv: matches no image; looked for "),
        (" ", "the source is empty; give a folder, a glob, a file or a table"),
    ],
)
def test_no_source_is_one_line(two, monkeypatch, source, told):
    monkeypatch.chdir(two)
    table(two, "path", "in/a.png")
    with pytest.raises(InputError) as caught:
        list_images(source)
    told = told.format(here=two)
    assert str(caught.value).startswith(told) and (told.endswith(" ") or str(caught.value) == told)


def test_a_source_is_looked_for_in_the_folder_one_is_in_and_at_home(two, monkeypatch):
    monkeypatch.setenv("HOME", str(two))
    monkeypatch.chdir(two / "sub")
    for source in ("../in", "~/in"):
        assert [item.path for item in list_images(source).items] == [str(two / "in/a.png"), str(two / "in/b.png")]


def test_folders_with_the_suffix_of_a_table_are_folders(two):
    for name in ("scans.csv", "scans.parquet"):
        folder = (two / "in").rename(two / name)
        assert [item.source.stem for item in list_images(folder).items] == ["a", "b"]
        folder.rename(two / "in")
    (two / "in").rename(two / "scans.csv")
    assert [item.source.stem for item in list_images(two / "*.csv").items] == ["a", "b"]


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
