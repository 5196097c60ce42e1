"""What is drawn and written: outlines, the planes of a volume, facts whose words are escaped, suggestions."""

from __future__ import annotations

import re
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.presets import load_preset
from medclipsam_monai.web.shown.drawing import outline
from medclipsam_monai.web.shown.facts import facts
from medclipsam_monai.web.shown.layers import Scene, drawing
from medclipsam_monai.web.shown.look import first_look, fullest_slice
from medclipsam_monai.web.shown.marks import marks_of
from medclipsam_monai.web.shown.planes import planes_of
from medclipsam_monai.web.shown.suggestions import chips, sentences_of_sets, suggested
from medclipsam_monai.web.visits.answer import Answer
from medclipsam_monai.zero_shot.class_records import size_words


@pytest.fixture(scope="module")
def opened(tiny_preset, tmp_path_factory):
    """A volume of 12 x 16 x 20 voxels of 1, 2 and 3 mm, x to the left, y to the back and z upwards; 1 at (2, 3, 4)."""
    values = np.zeros((12, 16, 20), np.float32)
    values[2, 3, 4] = 1
    path = tmp_path_factory.mktemp("volume") / "a.nii.gz"
    nib.save(nib.Nifti1Image(values, np.diag([-1.0, -2, 3, 1])), path)
    return TextSegmenter.from_preset(tiny_preset, "cpu").open(path, "full", "axial")


def test_an_outline_goes_around_the_pixels():
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:5] = True
    places = np.array(
        [[float(v) for v in pair] for pair in re.findall(r"(-?[\d.]+) (-?[\d.]+)", outline(mask, (2, 1)))]
    )
    assert places[:, 0].min() == 4 and places[:, 0].max() == 10  # columns 2 to 4, each 2 wide
    assert places[:, 1].min() == 1 and places[:, 1].max() == 3
    assert outline(np.zeros((3, 3), bool)) == ""


@pytest.mark.parametrize(
    ("plane", "sides", "place"),
    [
        ("axial", (16, 12, 20), (3, 2, 4)),
        ("coronal", (20, 12, 16), (15, 2, 12)),
        ("sagittal", (20, 16, 12), (15, 3, 2)),
    ],
)
def test_a_plane_shows_the_voxel_where_it_is_and_finds_it_again(opened, plane, sides, place):
    one = planes_of(opened)[plane]
    assert one.sides == sides and one.is_cut is (plane == "axial")
    (found,) = [
        (int(row), int(column), number)
        for number in range(one.slices)
        for row, column in np.argwhere(one.cut(opened.display[0].numpy(), number) > 0.5)
    ]
    row, column, number = found
    x, y, depth = one.place(column, row, number)
    assert opened.display[0][int(y), int(x), depth] > 0.5
    labels = (opened.display[0].numpy() > 0.5).astype(np.uint8)
    assert fullest_slice(one, labels) == number
    assert (row, column) == place[:2] or plane != "axial"


def test_a_look_stays_within_the_volume(opened):
    assert (first_look(opened).plane, first_look(opened).number) == ("axial", 10)
    with pytest.raises(InputError, match="from 1 to 20, got 21"):
        first_look(opened).at(opened, None, 20)


def test_a_drawing_holds_its_picture_and_nothing_of_elsewhere(opened):
    planes = planes_of(opened)
    svg = drawing(Scene(opened, planes["coronal"], 3))
    assert 'data-plane="coronal" data-boxes="0"' in svg and 'viewBox="0 0 12.00 60.00"' in svg
    assert re.findall(r'(?:href|src)="(.{10})', svg) == ["data:image"]


@pytest.fixture(scope="module")
def answer(opened):
    segmentation = opened({"<b>lungs</b>": "lungs"}, settings={"presence_threshold": 0.0})
    return Answer(segmentation, segmentation, opened.segmenter, ("saliency",), 0.25)


def test_facts_escape_what_a_visitor_wrote(answer):
    html = facts(answer, 2)
    assert "&lt;b&gt;lungs&lt;/b&gt;" in html and "<b>" not in html
    assert "0.25 s. Computed anew: saliency and mask. Corrected by 2 clicks or boxes." in html


@pytest.mark.parametrize(
    ("size", "unit", "words"),
    [
        (1632900.0, "mm3", "1,633 ml"),
        (52.0, "mm2", "52 mm²"),
        (1234.0, "mm2", "12.3 cm²"),
        (14549, "pixels", "14,549 pixels"),
    ],
)
def test_sizes_in_words(size, unit, words):
    assert size_words({"size": size, "unit": unit, "pixels": 1}) == words


@pytest.mark.parametrize(
    "one",
    [
        {},
        {"slice": 1, "plane": "axial", "x": "a", "y": 1},
        {"slice": 1, "plane": "nowhere", "x": 1, "y": 1},
        {"slice": 1, "plane": "axial", "x": float("inf"), "y": 1},
    ],
)
def test_a_click_that_is_none_is_refused(opened, answer, one):
    visit = SimpleNamespace(opened=opened, answer=answer)
    with pytest.raises(InputError, match="outside of the picture"):
        marks_of(visit, {"marks": [one]}, None)


def test_clicks_count_in_every_plane_and_boxes_in_the_one_that_is_cut(opened, answer):
    visit = SimpleNamespace(opened=opened, answer=answer)
    click = {"slice": 15, "plane": "coronal", "x": 2, "y": 15, "inside": False}
    (mark,) = marks_of(visit, {"marks": [click]}, "unknown")
    assert (mark.name, mark.inside, mark.is_box) == ("<b>lungs</b>", False, False)
    with pytest.raises(InputError, match="draw it in the axial plane"):
        marks_of(visit, {"marks": [{**click, "right": 5, "bottom": 9}]}, None)


def test_suggestions_are_of_this_kind_of_picture():
    small = load_preset("small")
    assert [one.text for one in suggested(small, ("chest X-ray",))][:2] == ["lungs", "heart"]
    assert [one.text for one in suggested(small, ("fundus photograph",))] == ["optic disc"]
    assert len(suggested(small, ())) == 8
    assert 'data-text="&quot;"' in chips([SimpleNamespace(label="x", text='"')])
    assert ("liver, abdominal CT: its name", "liver=liver") in sentences_of_sets()
