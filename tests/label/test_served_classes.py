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
    again = ServedClasses(parse_targets(["spleen"]), file)
    again.restart()
    assert again.names() == ["lungs", "typo", "heart", "spleen"]
    ServedClasses((), file).numbers(parse_targets("kidney"))  # another process
    assert again.names()[-1] == "kidney"


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


def test_scribbles_and_unprintable_names_are_no_classes(classes):
    named(np.array([1, 2, 3]), [{"name": "foreground_scribbles"}, {"name": "a\nb"}, {"name": "ribs"}], classes)
    assert classes.names() == ["lungs", "heart", "ribs"]
