"""What the small networks are told: states, captions, and which of them hold for which picture."""

from __future__ import annotations

import numpy as np
import pytest

from medclipsam_monai.phantoms import make_phantom
from medclipsam_monai.phantoms.phantom import TASKS
from tools.small.texts.descriptions import DESCRIPTIONS
from tools.small.texts.words import (
    ABSENT,
    COLUMN,
    CONCEPTS,
    KINDS,
    NAMES,
    PRESENT,
    STRANGERS,
    UNKNOWN,
    Caption,
    may_hold,
    say,
    say_stranger,
    states,
)


def test_every_concept_can_be_said_of_every_kind_of_picture_that_it_is_in():
    rng = np.random.default_rng(0)
    for name, concept in CONCEPTS.items():
        assert len(set(concept.names)) == len(concept.names) and set(concept.kinds) <= KINDS.keys()
        for kind in concept.kinds:
            caption = say(name, kind, rng)
            things = (thing for parts in DESCRIPTIONS.get(name, ()) for thing in parts[0])
            said = (*concept.names, *things)
            assert any(word in caption.text for word in said) and "{" not in caption.text
            assert caption.kind in (None, kind)


@pytest.mark.parametrize("task", TASKS)
def test_of_a_phantom_everything_is_known(task):
    for seed in range(10):
        phantom = make_phantom(task, seed, captions=0)
        shown = set(phantom.masks) & CONCEPTS.keys()
        state = states(task, shown)
        told = set(NAMES) & {fact.removeprefix("no ") for fact in phantom.facts}
        assert len(told) > 12
        for name in told - {"abnormality"}:
            assert state[COLUMN[name]] == (PRESENT if name in phantom.facts else ABSENT), name


def test_a_table_leaves_open_what_it_says_nothing_of():
    state = states("liver_ct", {"liver"}, told=False)
    assert state[COLUMN["liver"]] == PRESENT
    assert state[COLUMN["kidneys"]] == state[COLUMN["tumour"]] == UNKNOWN
    assert state[COLUMN["fetal head"]] == ABSENT
    shown = states("breast_ultrasound", {"benign tumour"}, told=False)
    assert shown[COLUMN["breast tumour"]] == shown[COLUMN["abnormality"]] == PRESENT
    assert shown[COLUMN["malignant tumour"]] == ABSENT and shown[COLUMN["cyst"]] == UNKNOWN


def test_a_caption_holds_where_nothing_speaks_against_it():
    kinds = ["fetal_ultrasound", "liver_ct", "chest_ct"]
    state = np.stack([states("fetal_ultrasound", {"fetal head"}), states("liver_ct", {"liver"}, told=False),
                      states("chest_ct", {"liver"})])  # fmt: skip
    captions = [
        Caption("liver", "liver", True, None),
        Caption("no liver", "liver", False, None),
        Caption("kidneys", "kidneys", True, None),
        Caption("CT scan with liver", "liver", True, "liver_ct"),
        Caption("abdominal CT with liver", "liver", True, "liver_ct"),
        Caption("sonogram", None, True, "fetal_ultrasound"),
    ]
    expected = [
        [False, True, False, False, False, True],
        [True, False, True, True, True, False],
        [True, False, False, True, False, False],
    ]
    np.testing.assert_array_equal(may_hold(state, kinds, captions), expected)


def test_what_is_strange_is_taught_nowhere():
    taught = {name for concept in CONCEPTS.values() for name in concept.names}
    for kinds, names in STRANGERS:
        assert set(kinds) <= KINDS.keys() and not set(names) & taught and len(set(names)) == len(names)
    rng = np.random.default_rng(0)
    said = [say_stranger(rng) for _ in range(200)]
    assert len({text for text, _ in said}) > 150 and all(text.strip() and "{" not in text for text, _ in said)
