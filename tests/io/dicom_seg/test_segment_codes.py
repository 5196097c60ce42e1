"""Codes of segments: the table agrees with the DICOM standard's own lists, and nothing is guessed."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

import pytest
from pydicom.sr.codedict import codes

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.dicom_seg import segment_codes as module
from medclipsam_monai.io.dicom_seg.segment_codes import label, private_scheme, segment_codes
from medclipsam_monai.phantoms import TARGETS

TABLE = json.loads(module._TABLE.read_text(encoding="utf-8"))
LEFT, RIGHT, BOTH = ("7771000", "Left"), ("24028007", "Right"), ("51440002", "Bilateral")
BENIGN, MALIGNANT = ("30807003", "Benign"), ("21594007", "Malignant")


def listed(group) -> set[tuple[str, str]]:
    return {(code.value, code.meaning) for code in group.concepts.values()}


@pytest.mark.seg
def test_every_code_stands_in_the_standard_with_its_meaning():
    meanings = defaultdict(set)
    for value, meaning in listed(codes.SCT):
        meanings[value].add(meaning)
    ours = [(target["code"], target["meaning"]) for target in TABLE["targets"]]
    ours += [tuple(pair) for kind in ("natures", "regions") for pair in TABLE[kind].values()]
    assert len(ours) > 80
    assert [(value, meaning) for value, meaning in ours if meaning not in meanings[value]] == []
    assert {tuple(pair) for pair in TABLE["categories"].values()} <= listed(codes.CID7150)
    assert {tuple(pair) for pair in TABLE["sides"].values()} <= listed(codes.CID244)


def test_every_name_of_the_table_is_written_as_names_are_looked_up():
    names = [name for target in TABLE["targets"] for name in (*target["names"], *target.get("pair", ()))]
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert [name for name in names if " ".join(module._words(name)) != name] == []
    assert {target["category"] for target in TABLE["targets"]} == set(TABLE["categories"])
    assert all(target["nature"] in TABLE["natures"] for target in TABLE["targets"] if "nature" in target)
    assert all(target["region"] in TABLE["regions"] for target in TABLE["targets"] if "region" in target)


@pytest.mark.parametrize(
    ("name", "code", "modifiers", "region"),
    [
        ("lungs", "39607008", [BOTH], None),
        ("Lung", "39607008", [], None),
        ("both lungs", "39607008", [BOTH], None),
        ("the left lung", "39607008", [LEFT], None),
        ("right kidney", "64033007", [RIGHT], None),
        ("bilateral kidneys", "64033007", [BOTH], None),
        ("left ventricle", "87878005", [], None),
        ("ventricles", "35764002", [], None),
        ("malignant breast tumour", "108369006", [MALIGNANT], "76752008"),
        ("Breast cancer", "108369006", [MALIGNANT], "76752008"),
        ("benign tumor", "108369006", [BENIGN], None),
        ("brain tumour", "108369006", [], "12738006"),
        ("left lung nodule", "27925004", [LEFT], "39607008"),
        ("pulmonary mass", "4147007", [], "39607008"),
        ("haematoma", "35566002", [], None),
        ("cerebral oedema", "79654002", [], "12738006"),
        ("pleural effusion", "60046008", [], None),
        ("pacemaker", "14106009", [], None),
        ("fibroadenoma", "254845004", [], "76752008"),
    ],
)
def test_names_find_their_codes(name, code, modifiers, region):
    found = segment_codes(name)
    assert (found.type.value, found.type.scheme, found.category.scheme) == (code, "SCT", "SCT")
    assert [(modifier.value, modifier.meaning) for modifier in found.modifiers] == modifiers
    assert (found.region.value if found.region else None) == region


def test_every_target_of_the_phantoms_has_a_code():
    names = {name for targets in TARGETS.values() for name in targets}
    assert [name for name in sorted(names) if segment_codes(name).type.scheme != "SCT"] == []


@pytest.mark.parametrize(
    "name",
    [
        "no tumour",
        "left liver",
        "benign lung",
        "benign cancer",
        "left left lung",
        "lung without tumour",
        "shadow",
        "骨",
    ],
)
def test_what_the_table_does_not_hold_gets_a_private_code(name):
    found = segment_codes(name)
    scheme, description = private_scheme()
    assert {found.type.scheme, found.category.scheme} == {scheme}
    assert found.type.meaning == name and len(found.type.value) <= 16 and len(scheme) <= 16 and description
    assert found.modifiers == () and found.region is None
    assert segment_codes(f"  The {name.upper()}!").type.value == found.type.value, "the same words, the same code"


def test_other_words_have_other_private_codes():
    assert len({segment_codes(name).type.value for name in ("shadow", "dark shadow", "shadows", "shadow left")}) == 4


def test_labels_are_one_line_of_64_characters():
    assert label(" a\\b\n c ") == "a/b c"
    assert label("a\x1b[31m\x07b\x00") == "a [31m b"
    assert label("x" * 64) == "x" * 64
    assert label("x" * 65) == "x" * 61 + "..."
    assert segment_codes("y" * 100).type.meaning == "y" * 61 + "..."


@pytest.mark.parametrize("name", ["A", "a", "The", "an", "á", "a\u0301", "\u0906"])
def test_a_class_may_be_called_by_an_article_or_a_single_letter(name):
    assert segment_codes(name).type.meaning == name


def test_names_that_differ_in_combining_marks_alone_have_codes_of_their_own():
    """Vowels of Indic scripts are marks, which are no letters to a regular expression."""
    assert segment_codes("\u0915\u093f").type.value != segment_codes("\u0915\u0940").type.value
    assert segment_codes("na\u0308vus").type.value == segment_codes("n\u00e4vus").type.value


@pytest.mark.parametrize("name", ["", "  ", "?!", "!!!", "=^", "\u200b", "\U0001f9e0"])
def test_a_name_without_letters_and_digits_is_refused_for_what_it_is(name):
    with pytest.raises(InputError, match="a segment needs a name with letters or digits in it, got none"):
        segment_codes(name)


def test_half_a_surrogate_pair_is_no_part_of_a_label():
    assert label("liver\ud800 left") == "liver left"
