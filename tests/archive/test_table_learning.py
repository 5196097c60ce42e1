"""Masks and pairs to learn from that come from an archive's table."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow as pa
import pytest
from archive_files import of_class, write_archive
from dicom_files import write_series
from PIL import Image
from pyarrow import parquet
from weak_files import picture

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.finetune.data.pairs import Pair, read_pairs
from medclipsam_monai.io import hash_outputs
from medclipsam_monai.weak.dataset import PseudoLabelledDataset
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.raw_data import read_cases
from medclipsam_monai.weak.pseudo.archived import read_archive
from medclipsam_monai.weak.pseudo.quality_gate import Gate

GOOD = "presence > 0.9 and quality > 0.8"
REPORT = "a report that says in words what is seen, number"


@pytest.fixture
def archive(tmp_path):
    """Eight pictures of four patients, two of which have a bad mask, and an image that could not be read."""
    images = {picture(tmp_path / "in" / f"p{n}.png", (20, 30), n): n for n in range(8)}
    bad = {2: {"presence": 0.2}, 5: {"quality": 0.3}}
    rows = {
        path: {"patient": n // 2, "report": f"{REPORT} {n}", "classes": [of_class(**bad.get(n, {}))]}
        for path, n in images.items()
    }
    return write_archive(tmp_path / "out", rows, ["patient", "report"], [str(tmp_path / "in" / "broken.png")])


@pytest.fixture
def learn(tmp_path):
    """A function that makes a data set of an archive, and the lines that were told."""
    told: list[str] = []

    def made(archive, text="lungs", gate=None, **options):
        told.clear()
        folders = WorkFolders(tmp_path / "work")
        notify = lambda kind, line: told.append(f"{kind} {line}")  # noqa: E731
        PseudoLabelledDataset(folders, "", text, None, gate or Gate(), archive_dir=archive, notify=notify, **options)
        return folders

    made.told = told
    return made


def test_masks_are_chosen_by_an_expression_and_split_by_patient(archive, learn):
    folders = learn(archive, where=GOOD, validation=0.3)
    cases = read_cases(folders)
    assert [(case.stem, case.patient) for case in cases] == [
        ("p0", "0"),
        ("p1", "0"),
        ("p3", "1"),
        ("p4", "2"),
        ("p6", "3"),
        ("p7", "3"),
    ]
    sides = {case.patient: {other.split for other in cases if other.patient == case.patient} for case in cases}
    assert all(len(side) == 1 for side in sides.values()) and set.union(*sides.values()) == {"train", "validation"}
    label = np.asarray(Image.open(folders.labels / "case_0001.png"))
    np.testing.assert_array_equal(label, np.asarray(Image.open(archive / "p0_mask.png")))
    with folders.gate_table.open() as file:
        dropped = [(row["case"], row["reason"]) for row in csv.DictReader(file) if row["kept"] == "no"]
    assert dropped == [("p2", "the expression does not hold"), ("p5", "the expression does not hold")]
    assert learn.told == []


def test_without_an_expression_the_gate_chooses(archive, learn):
    cases = read_cases(learn(archive, gate=Gate(min_presence=0.5, min_quality=0), validation=0))
    assert [case.stem for case in cases] == ["p0", "p1", "p3", "p4", "p5", "p6", "p7"]


def test_what_was_changed_since_is_named_and_left_out(archive, learn, tmp_path):
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(archive / "p0_mask.png")
    (archive / "p1_mask.png").unlink()
    (archive / "p3.json").unlink()
    picture(tmp_path / "in" / "p4.png", (20, 30), 99)
    (tmp_path / "in" / "p5.png").unlink()
    record = json.loads((archive / "p6.json").read_text())
    (archive / "p6.json").write_text(json.dumps(record | {"request": "0" * 64}))
    cases = read_cases(learn(archive, where="presence > 0", validation=0))
    assert [case.stem for case in cases] == ["p2", "p7"]
    lines = "\n".join(learn.told)
    for words in (
        "p0_mask.png: was changed since archive wrote it",
        "p1_mask.png: it or its record is gone",
        "p3_mask.png: it or its record is gone",
        "p4.png: was changed since archive segmented it",
        "p5.png: no such file",
        "p6_mask.png: the table tells of another mask",
    ):
        assert words in lines
    assert len(learn.told) == 6

    (tmp_path / "mine").mkdir()
    Image.fromarray(np.ones((20, 30), np.uint8)).save(tmp_path / "mine" / "p0.png")
    cases = read_cases(learn(archive, where="presence > 0", validation=0, given_dir=tmp_path / "mine"))
    assert [(case.stem, case.label) for case in cases] == [("p0", "given"), ("p2", "pseudo"), ("p7", "pseudo")]


def test_a_mask_that_does_not_lie_on_its_image_is_one_line(archive, learn):
    Image.fromarray(np.ones((9, 9), np.uint8)).save(archive / "p0_mask.png")
    record = json.loads((archive / "p0.json").read_text())
    (archive / "p0.json").write_text(json.dumps(record | {"outputs": hash_outputs([archive / "p0_mask.png"])}))
    with pytest.raises(InputError, match=r"p0_mask\.png: is a mask of 9 x 9 for an image of 20 x 30"):
        learn(archive, where=GOOD)


def test_two_series_of_one_folder_are_told_apart_and_paths_begin_where_it_is_said(learn, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 400, (3, 20, 24)).astype("int16")
    (tmp_path / "in").mkdir()
    for name, number in (("a", "1.2.3"), ("b", "1.2.4")):
        own = pixels if name == "a" else pixels[:, ::-1].copy()
        write_series(tmp_path / "in" / name, own, SeriesInstanceUID=number)
    archive = write_archive(tmp_path / "out", {tmp_path / "in" / name: {} for name in ("a", "b")})
    both = tmp_path / "moved" / "both"
    both.mkdir(parents=True)
    for path in (tmp_path / "in").rglob("*.dcm"):
        path.rename(both / f"{path.parent.name}_{path.name}")
    (part,) = (archive / "table").iterdir()
    table = parquet.read_table(part)
    parquet.write_table(table.set_column(0, "path", pa.array(["both", "both"])), part)
    archived = read_archive(archive, ["lungs"], GOOD, image_root=tmp_path / "moved")
    labels = archived.kept(Gate(), WorkFolders(tmp_path / "work"))
    assert [(label.stem, {path.name[0] for path in label.files}) for label in labels] == [("a", {"a"}), ("b", {"b"})]
    cases = read_cases(learn(archive, where=GOOD, image_root=tmp_path / "moved"))
    assert [(case.stem, case.source) for case in cases] == [("a", str(both)), ("b", str(both))]
    archive.rename(tmp_path / "moved" / "out")
    assert len(read_cases(learn(tmp_path / "moved" / "out", where=GOOD))) == 2
    archive = (tmp_path / "moved" / "out").rename(tmp_path / "out")
    with pytest.raises(InputError, match="both: no such file or folder; image_root says where relative paths begin"):
        learn(archive, where=GOOD)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"where": "presence > 2"},
            r"none of the 8 masks passes where='presence > 2': the expression does not hold 8x",
        ),
        ({"where": "presense > 2"}, 'Referenced column "presense" not found'),
        ({"where": "presence >"}, "syntax error"),
        ({"text": "heart"}, r"holds no mask of 'heart'; there are 'lungs' 8x"),
        ({"archive_dir": "none"}, "none: no such table"),
        ({"dataset_dir": "in"}, "give dataset_dir or archive_dir, not both"),
        ({"archive_dir": None, "where": "presence > 1"}, "give its folder as archive_dir"),
    ],
)
def test_a_mistake_is_one_line(archive, tmp_path, options, words):
    given = {"dataset_dir": "", "text": "lungs", "segmenter": None, "gate": Gate(), "archive_dir": archive, **options}
    with pytest.raises(InputError, match=words) as caught:
        PseudoLabelledDataset(WorkFolders(tmp_path / "work"), **given)
    assert "\n" not in str(caught.value)


def test_a_table_that_archive_did_not_write_is_refused(archive, learn):
    for part in sorted((archive / "table").iterdir()):
        table = parquet.read_table(part)
        names = pa.array([f"../{name}" for name in table["name"].to_pylist()])
        parquet.write_table(table.set_column(1, "name", names), part)
    with pytest.raises(InputError, match="must name files beside it, by plain names"):
        learn(archive, where=GOOD)
    for part in (archive / "table").iterdir():
        parquet.write_table(parquet.read_table(part).drop_columns(["mask"]), part)
    with pytest.raises(InputError, match="has no column 'mask'; it has 'path', 'name'"):
        learn(archive, where=GOOD)


def test_an_image_without_a_patient_among_those_that_have_one_is_refused(tmp_path, learn):
    rows = {picture(tmp_path / "in" / f"p{n}.png", (20, 30), n): {"patient": "a" if n else None} for n in range(2)}
    archive = write_archive(tmp_path / "out", rows, ["patient"])
    with pytest.raises(InputError, match=r"p0 has no patient in its table \(1 of 2 images have none\)"):
        learn(archive, where=GOOD)
    assert [case.patient for case in read_cases(learn(archive, where=GOOD, patient=r"(p\d)"))] == ["p0", "p1"]


def test_rows_of_other_classes_are_told_and_left_out(tmp_path, learn):
    rows = {
        picture(tmp_path / "in" / f"p{n}.png", (20, 30), n): {"classes": [of_class("heart" if n else "lungs")]}
        for n in range(3)
    }
    archive = write_archive(tmp_path / "out", rows)
    assert [case.stem for case in read_cases(learn(archive, text="heart"))] == ["p1", "p2"]
    assert learn.told == ["skipped 1 images of other classes: 'lungs' 1x"]


def test_pairs_come_from_the_table_with_its_reports_and_patients(archive, tmp_path):
    pairs = read_pairs(archive, layout="archive", caption="report", where=GOOD)
    expected = [Pair(str(tmp_path / "in" / f"p{n}.png"), f"{REPORT} {n}", str(n // 2)) for n in (0, 1, 3, 4, 6, 7)]
    assert pairs == expected
    whole = read_pairs(archive / "table", layout="archive", caption="report")
    assert [pair.image for pair in whole] == [str(tmp_path / "in" / f"p{n}.png") for n in range(8)]
    texts = read_pairs(archive, layout="archive", min_caption_length=1, where="patient = 0")
    assert [pair.caption for pair in texts] == ["lungs", "lungs"]


def test_pairs_come_from_any_parquet_file(tmp_path):
    rows = [{"image": "a.png", "caption": f"{REPORT} 1", "case": 0, "z": 3}]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    pairs = read_pairs(tmp_path / "pairs.parquet", slice="z")
    assert pairs == [Pair(str(tmp_path / "a.png"), f"{REPORT} 1", "0", 3)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layout": "plain"}, "has no column 'image'; it has path, name"),
        ({"layout": "archive", "where": "patient > 9"}, r"where='patient > 9' holds for none of its 9 rows"),
        ({"layout": "archive", "where": "patient >"}, "syntax error"),
        ({"layout": "archive"}, "no usable pair among 9 rows: 8 with a caption under 20 characters, 1 without"),
    ],
)
def test_a_mistake_about_pairs_is_one_line(archive, options, words):
    with pytest.raises(InputError, match=words) as caught:
        read_pairs(archive, **options)
    assert "\n" not in str(caught.value)
