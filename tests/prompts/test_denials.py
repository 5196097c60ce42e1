"""Texts that say what is not there, told from those that only look so."""

from __future__ import annotations

import pytest

from medclipsam_monai.prompts import TextTarget, load_prompt_set, prompt_set_names
from medclipsam_monai.prompts.denials import denial_warning, denied


@pytest.mark.parametrize(
    ("sentence", "what"),
    [
        ("no tumor", "tumor"),
        ("No tumor.", "tumor"),
        ("without a tumor", "tumor"),
        ("the absence of tumor", "tumor"),
        ("lack of any lung mass", "lung mass"),
        ("not the heart", "heart"),
        ("kein Tumor", "Tumor"),
        ("keine Lunge", "Lunge"),
        ("no evidence of pleural effusion", "pleural effusion"),
        ("there are no kidneys in this CT", "kidneys"),
        ("There is no liver!", "liver"),
        ("pleural effusion is absent", "pleural effusion"),
        ("the lungs are not visible", "lungs"),
        ("lungs aren't visible", "lungs"),
        ("the tumor cannot be seen", "tumor"),
        ("cyst not seen", "cyst"),
        ("no cyst seen on the sonogram", "cyst"),
        ("this ultrasound image shows no cyst", "cyst"),
        ("CT of the abdomen without kidneys", "kidneys"),
        ("a chest X-ray does not show the heart", "heart"),
        ("negative for tumor", "tumor"),
        ("  no\n tumor ", "tumor"),
    ],
)
def test_what_a_sentence_denies(sentence, what):
    assert denied(sentence) == what


@pytest.mark.parametrize(
    "sentence",
    [
        "tumor",
        "non-small cell lung cancer",
        "non-contrast CT",
        "noncalcified nodule",
        "node",
        "nodule",
        "note",
        "notochord",
        "normal liver",
        "abnormality",
        "nose",
        "no",
        "No. 5 vertebra",
        "vertebra no 5",
        "no-reflow zone",
        "CT without contrast showing the liver",
        "without intravenous contrast",
        "adenocarcinoma, not otherwise specified",
        "a round dark lumen without echoes",
        "liver without tumor",
        "the lungs and the heart",
    ],
)
def test_what_only_looks_like_a_denial(sentence):
    assert denied(sentence) is None


@pytest.mark.parametrize("name", prompt_set_names())
def test_prompt_sets_ask_for_what_is_there_and_their_opposites_deny(name):
    prompts = load_prompt_set(name)
    asked = [*prompts.wordings, *(text for texts in prompts.levels.values() for text in texts)]
    assert [text for text in asked if denied(text)] == []
    assert denial_warning(prompts.target_at("P0")) is None
    assert any(denied(text) for text in prompts.opposites)


def test_a_class_denies_by_any_of_its_sentences_and_by_no_opposite():
    line = "'no tumor' says that something is absent; a mask can only show what is there: ask for 'tumor'"
    assert denial_warning(TextTarget("a", ("a brain tumor", "no tumor"))) == line
    assert denial_warning(TextTarget("a", ("a brain tumor",), ("no tumor",))) is None
    assert denial_warning(TextTarget("no tumor", ("a brain tumor",))) is None
