"""The list of classes: numbers that stay, spellings that are one, and what outlives the server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.label.label_names import named
from medclipsam_monai.label.served_classes import ServedClasses
from medclipsam_monai.prompts import parse_targets

LABEL = np.array([[0, 1], [2, 2]], np.uint8)


@pytest.fixture(params=["memory", "file"])
def classes(request, tmp_path) -> ServedClasses:
    file = tmp_path / "model" / "classes.json" if request.param == "file" else None
    return ServedClasses(parse_targets(["lungs", "heart"]), file)


def test_a_class_keeps_its_number_whatever_is_asked_for_and_how_it_is_spelt(classes):
    assert classes.numbers(parse_targets("heart")) == [2]
    assert classes.numbers(parse_targets([" HEART ", "left  Lung", "lungs"])) == [2, 3, 1]
    assert classes.numbers(parse_targets("Left lung")) == [3] and classes.number("LEFT LUNG") == 3
    assert classes.names() == ["lungs", "heart", "left  Lung"]
    assert classes.numbers(parse_targets("Übersicht")) == classes.numbers(parse_targets("U\u0308BERSICHT")) == [4]


def test_a_named_sentence_is_the_class_of_its_name(classes):
    assert classes.numbers(parse_targets("tumor=a malignant breast tumor")) == [3]
    assert classes.numbers(parse_targets("Tumor=a dark mass")) == [3]
    assert classes.target(3).sentences == ("a malignant breast tumor",)
    (one,) = classes.served(parse_targets(["tumor=a dark mass", "TUMOR=a bright mass"]))
    assert (one.name, one.sentences) == ("tumor", ("a dark mass", "a bright mass"))


def test_a_label_map_has_no_room_for_more_and_nothing_half_is_listed(classes):
    classes.numbers(parse_targets([f"word {n}" for n in range(250)]))
    before = classes.names()
    with pytest.raises(InputError, match="'new 3' would be class 256, a label map holds 255; restart the server"):
        classes.numbers(parse_targets([f"new {n}" for n in range(9)]))
    assert classes.names() == before and len(before) == 252
    with pytest.raises(InputError, match="background is what belongs to no class"):
        classes.numbers(parse_targets("Background"))
    with pytest.raises(InputError, match=r"there is no class 253; the classes are 1 lungs, 2 heart"):
        classes.target(253)


def test_a_restart_keeps_what_labels_name_with_its_number_and_no_other_word(tmp_path):
    file = tmp_path / "classes.json"
    first = ServedClasses(parse_targets(["lungs"]), file)
    first.numbers(parse_targets(["typo", "heart", "liver"]))
    first.numbers(parse_targets("heart"), keep=True)
    again = ServedClasses(parse_targets(["lungs"]), file)
    again.numbers(parse_targets("other"))
    again.restart()
    assert again.names() == ["lungs", "typo", "heart"]
    ServedClasses((), file).numbers(parse_targets("kidney"))  # another process
    assert again.names()[-1] == "kidney"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tumor", ["tumor", "lungs", "heart"]),
        ("heart", ["heart", "lungs"]),
        ("LUNGS; heart", ["LUNGS", "heart"]),
        ("lungs=two lungs", ["lungs", "typo", "heart"]),
        ("Lungs; lungs; a; b; c", ["Lungs", "a", "b", "c", "heart"]),
    ],
)
def test_a_server_that_is_started_with_another_text_has_that_first(tmp_path, text, expected):
    """Else a folder of masks without names would be of the classes of the study before."""
    file = tmp_path / "classes.json"
    ServedClasses(parse_targets(["lungs"]), file).numbers(parse_targets("typo"))
    ServedClasses((), file).numbers(parse_targets(["lungs", "heart"]), keep=True)
    targets = parse_targets(text.split("; "))
    again = ServedClasses(targets, file)
    again.restart()
    assert again.names() == expected and again.first_names() == expected[: len(again.first_names())]
    assert again.target(1).sentences == targets[0].sentences
    assert [again.number(target.name) for target in targets] == again.numbers(targets)


def test_classes_that_several_ask_for_at_once_have_one_number_each(tmp_path):
    file = tmp_path / "classes.json"
    words = [f"word {n % 8}" for n in range(32)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda word: ServedClasses((), file).numbers(parse_targets(word))[0], words))
    assert dict(zip(words, found, strict=True)) == {
        word: n for n, word in enumerate(ServedClasses((), file).names(), 1)
    }


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, [("lungs", 1), ("heart", 2)]),
        ([], [("lungs", 1), ("heart", 2)]),
        ([{"name": "heart", "idx": 1}, {"name": "ribs", "idx": "2"}], [("heart", 1), ("ribs", 2)]),
        ([{"name": "a"}, {"name": "b"}], [("a", 1), ("b", 2)]),
        ([{"name": "heart", "idx": 2}, {"name": "lungs", "idx": 3}], [("heart", 1), ("lungs", 2)]),
    ],
)
def test_a_submitted_labels_numbers_have_names(classes, said, expected):
    assert [(entry["name"], entry["idx"]) for entry in named(LABEL, said, classes)] == expected


def test_a_mask_of_one_class_may_hold_any_number(classes):
    (entry,) = named(7 * (LABEL > 0), [{"name": "polyp", "idx": 1}], classes)
    assert (entry["name"], entry["idx"]) == ("polyp", 7) and classes.names()[-1] == "polyp"
    assert named(7 * (LABEL > 0), None, classes) is None


def test_a_number_without_a_name_is_refused(classes):
    with pytest.raises(InputError, match="holds the number 9, which label_info does not name; it says 1 lungs"):
        named(np.array([1, 9]), [{"name": "lungs", "idx": 1}], classes)


def test_a_number_that_may_be_two_segments_is_refused(classes):
    """3D Slicer leaves a segment called background out of the label and of the list, but counts it in "idx"."""
    said = [{"name": "lungs", "idx": 2}, {"name": "heart", "idx": 3}]
    assert [entry["idx"] for entry in named(LABEL, said, classes, by_place=True)] == [1, 2]
    assert [entry["idx"] for entry in named(LABEL + (LABEL > 0), said, classes, by_place=True)] == [2, 3]
    with pytest.raises(InputError, match="counts to 3 for 2 segments, so that its number 2 may be one or the other"):
        named(2 * (LABEL > 1), said, classes, by_place=True)
    assert [entry["idx"] for entry in named(2 * (LABEL > 1), said, classes)] == [2, 3]
    with pytest.raises(InputError, match="two names for the number 2: heart, lungs"):
        named(LABEL, [{"name": "lungs", "idx": 2}, {"name": "heart", "idx": 2}, {"name": "x", "idx": 1}], classes)


def test_scribbles_and_unprintable_names_are_no_classes(classes):
    named(np.array([1, 2, 3]), [{"name": "foreground_scribbles"}, {"name": "a\nb"}, {"name": "ribs"}], classes)
    assert classes.names() == ["lungs", "heart", "ribs"]
