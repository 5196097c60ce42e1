from __future__ import annotations

import json
import logging
import sys

import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.finetune.data.pairs import Layout, Pair, read_pairs
from medclipsam_monai.finetune.data.splits import number_labels, split_by_case

LONG = "a caption of more than twenty characters"


def write(path, text: str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", f"image,caption,case\na.png,{LONG},p1\n"),
        ("t.csv", f'\ufeffimage,caption,case\r\n"a.png","{LONG}",p1\r\n'),
        ("t.tsv", f"image\tcaption\tcase\na.png\t{LONG}\tp1\n"),
        ("t.jsonl", json.dumps({"image": "a.png", "caption": LONG, "case": "p1"}) + "\n\n"),
        ("t.json", json.dumps([{"image": "a.png", "caption": LONG, "case": "p1"}])),
    ],
)
def test_the_same_pair_comes_from_every_kind_of_table(tmp_path, name, text):
    assert read_pairs(write(tmp_path / name, text)) == [Pair(str(tmp_path / "a.png"), LONG, "p1")]


def test_line_breaks_inside_a_caption_become_spaces(tmp_path):
    table = write(tmp_path / "t.csv", 'image,caption\na.png,"a caption that goes\non in a second line"\n')
    assert read_pairs(table)[0].caption == "a caption that goes on in a second line"


def test_columns_can_be_named(tmp_path):
    table = write(tmp_path / "t.csv", f"file,report,patient,z\nv.nii.gz,{LONG},7,12\nw.nii.gz,{LONG}!,8,\n")
    pairs = read_pairs(table, image="file", caption="report", case="patient", slice="z")
    assert [(p.case, p.slice) for p in pairs] == [("7", 12), ("8", None)]


def test_without_a_case_column_every_image_is_a_case(tmp_path):
    table = write(tmp_path / "t.csv", f"image,caption\nx/a.png,{LONG}\nx/b.png,{LONG}\n")
    assert [pair.case for pair in read_pairs(table)] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("layout", "name", "text", "file", "case"),
    [
        (
            "medpix",
            "Descriptions.json",
            json.dumps([{"U_id": "MPX1", "image": "MPX1_synpic2", "Description": {"Caption": LONG}}]),
            "images/MPX1_synpic2.png",
            "MPX1",
        ),
        ("medpix_csv", "t.csv", f"filename,Caption\nsynpic2.jpg,{LONG}\n", "images/synpic2.jpg", "synpic2.jpg"),
        ("roco", "t.csv", f"id,name,caption\n1,PMC77_a-g1.jpg,{LONG}\n", "images/PMC77_a-g1.jpg", "PMC77"),
        ("roco_v2", "train_captions.csv", f"ID,Caption\nROCOv2_1,{LONG}\n", "train/ROCOv2_1.jpg", "ROCOv2_1"),
    ],
)
def test_known_data_sets_are_read_as_they_are(tmp_path, layout, name, text, file, case):
    image = write(tmp_path / file, "not looked into")
    root = image.parent if layout == "roco_v2" else None
    assert read_pairs(write(tmp_path / name, text), root=root, layout=layout) == [Pair(str(image), LONG, case)]


def test_short_and_empty_captions_are_left_out_and_counted(tmp_path, caplog):
    table = write(tmp_path / "t.csv", f"image,caption\na.png,{LONG}\nb.png,pelvis\nc.png,\n,{LONG}\nd.png,{'x' * 20}\n")
    with caplog.at_level(logging.INFO):
        pairs = read_pairs(table)
    assert [len(pair.caption) for pair in pairs] == [len(LONG), 20]
    assert "2 pairs of 2 cases; left out: 1 with a caption under 20 characters" in caplog.text
    assert "1 without a caption, 1 without an image" in caplog.text


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("t.csv", "picture,caption\na,b\n", {}, "has no column 'image'; it has picture, caption"),
        ("t.csv", f"image,caption\na,{LONG}\n", {"case": "patient"}, "has no column 'patient'"),
        ("t.csv", "image,caption\n", {}, "holds no rows"),
        ("t.csv", "image,caption\na,b\n", {}, "no usable pair among 1 rows: 1 with a caption under 20"),
        ("t.csv", f"image,caption,z\na,{LONG},two\n", {"slice": "z"}, "'z' must hold whole numbers, got 'two'"),
        ("t.csv", f"image,caption\na,{LONG}\n", {"layout": "rocco"}, "layout must be one of plain, medpix"),
        ("t.csv", f"image,caption\na,{LONG}\n", {"captions": "x"}, "columns may be image, caption"),
        ("t.csv", f"image,caption\na,{LONG}\n", {"where": "x > 1"}, "where='x > 1' chooses rows of a Parquet table"),
        ("t.xlsx", "", {}, "a table of pairs is one of .csv"),
        ("t.jsonl", "{\n", {}, "line 1 is not JSON"),
        ("t.jsonl", "[1]\n", {}, "line 1 must hold a JSON object, got a list"),
        ("t.json", "{}", {}, "must hold a JSON list, got an object"),
    ],
)
def test_a_mistake_in_the_table_is_one_line(tmp_path, name, text, options, message):
    with pytest.raises(InputError, match=message) as caught:
        read_pairs(write(tmp_path / name, text), **options)
    assert "\n" not in str(caught.value)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match=r"table of pairs not found: .*t\.csv"):
        read_pairs(tmp_path / "t.csv")


def test_parquet_where_nothing_reads_it_is_named_with_what_does(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"Parquet needs pyarrow: pip install 'medclipsam-monai\[archive\]'$"):
        read_pairs(write(tmp_path / "t.parquet", ""))


def test_a_layout_of_ones_own(tmp_path):
    table = write(tmp_path / "t.csv", f"f,t,study\na.png,{LONG},S-12-3\n")
    assert read_pairs(table, layout=Layout("f", "t", "study", r"S-\d+"))[0].case == "S-12"


def make_pairs(cases: int, each: int) -> list[Pair]:
    return [Pair(f"{c}_{n}.png", f"{LONG} {c} {n}", f"case {c}") for c in range(cases) for n in range(each)]


def test_a_split_keeps_cases_whole_and_meets_its_share():
    train, held = split_by_case(make_pairs(40, 3), 0.15, seed=1)
    assert not {p.case for p in train} & {p.case for p in held}
    assert len(held) == 18 and len(train) == 102


def test_a_split_does_not_depend_on_the_order_but_on_the_seed():
    pairs = make_pairs(20, 2)
    held = {p.image for p in split_by_case(pairs, seed=3)[1]}
    assert {p.image for p in split_by_case(pairs[::-1], seed=3)[1]} == held
    assert {p.image for p in split_by_case(pairs, seed=4)[1]} != held


def test_a_caption_that_cases_share_is_on_one_side_only():
    pairs = [Pair(f"{n}.png", f"caption {n // 2}", str(n)) for n in range(40)]
    train, held = split_by_case(pairs, 0.25)
    assert held and not {p.caption for p in train} & {p.caption for p in held}


def test_one_large_case_stays_in_training():
    pairs = [Pair(f"{n}.png", f"{LONG} {n}", "big" if n < 50 else str(n)) for n in range(60)]
    assert all("big" not in {p.case for p in split_by_case(pairs, 0.15, seed)[1]} for seed in range(10))


def test_two_pairs_split_in_one_and_one():
    train, held = split_by_case(make_pairs(2, 1), 0.01)
    assert len(train) == len(held) == 1


def test_pairs_that_hang_together_cannot_be_split():
    with pytest.raises(InputError, match="one case or share one caption"):
        split_by_case([Pair(f"{n}.png", "the same", str(n)) for n in range(5)])


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.2])
def test_a_share_outside_0_to_1_is_refused(fraction):
    with pytest.raises(ValueError, match="fraction must be between 0 and 1"):
        split_by_case(make_pairs(4, 1), fraction)


def test_labels_are_numbered_without_case():
    assert number_labels(["Lung", "heart", "LUNG"]) == [0, 1, 0]


def test_names_made_of_uids_find_their_own_images(tmp_path):
    uids = ("1.2.840.1", "1.2.840.2", "1.2.840.21")
    for uid in uids:
        write(tmp_path / "images" / f"{uid}.png", "")
    table = write(tmp_path / "t.csv", "image,caption\n" + "".join(f"{uid},{LONG} {uid}\n" for uid in uids))
    assert [pair.image for pair in read_pairs(table)] == [str(tmp_path / "images" / f"{uid}.png") for uid in uids]


def test_a_name_that_two_files_have_is_an_error_that_names_both(tmp_path):
    for name in ("a.jpg", "a.nii.gz"):
        write(tmp_path / name, "")
    table = write(tmp_path / "t.csv", f"image,caption\na,{LONG}\n")
    with pytest.raises(InputError, match=r"^a may be .*/a\.jpg or .*/a\.nii\.gz; give the name with its suffix$"):
        read_pairs(table)


def test_images_of_one_base_name_are_cases_of_their_own(tmp_path):
    table = write(tmp_path / "t.csv", f"image,caption\np1/i.png,{LONG} 1\np2/i.png,{LONG} 2\np1/i.png,{LONG} 3\n")
    assert [pair.case for pair in read_pairs(table)] == ["p1/i.png", "p2/i.png", "p1/i.png"]
