"""Texts that describe a structure and do not name it."""

from __future__ import annotations

import numpy as np

from medclipsam_monai.prompts import load_prompt_set, prompt_set_names
from tools.small.texts.descriptions import DESCRIPTIONS, all_descriptions, describe, describe_strange, is_kept
from tools.small.texts.words import CONCEPTS, say, say_stranger


def describes(text: str, name: str) -> bool:
    """Whether a text holds a thing and a place of one of a concept's descriptions, in that order."""
    for things, places in DESCRIPTIONS[name]:
        for thing in things:
            place = text.partition(thing)[2]
            if place and any(one in place for one in places):
                return True
    return False


def test_every_description_is_of_a_concept_and_of_one_alone():
    assert set(DESCRIPTIONS) <= set(CONCEPTS)
    meant: dict[str, set[str]] = {}
    for name in DESCRIPTIONS:
        for phrase in all_descriptions(name):
            meant.setdefault(phrase, set()).add(name)
    assert len(meant) > 500
    shared = {phrase for phrase, names in meant.items() if len(names) > 1}
    assert shared == set()


def test_no_description_is_a_wording_that_measures():
    measured = {
        wording.lower().removeprefix("the ").rstrip(".")
        for task in prompt_set_names()
        for wording in load_prompt_set(task).wordings
    }
    assert len(measured) > 100
    for name in DESCRIPTIONS:
        assert not measured & set(all_descriptions(name)), name


def test_a_description_names_nothing():
    rng = np.random.default_rng(0)
    for name in DESCRIPTIONS:
        names = [word.lower() for word in CONCEPTS[name].names]
        for _ in range(20):
            phrase = describe(name, rng)
            assert phrase is not None and describes(phrase, name)
            assert phrase.removeprefix("the ") not in names


def test_what_is_said_describes_as_often_as_every_fifth_time():
    rng = np.random.default_rng(0)
    said = [say("liver", "liver_ct", rng, present).text for present in (True, False) for _ in range(1000)]
    described = np.mean([describes(text, "liver") for text in said])
    assert 0.15 < described < 0.25
    assert not any("the the" in text for text in said)


def test_a_fifth_of_the_phrases_is_never_said():
    kept = {phrase for phrase in all_descriptions("spleen") if is_kept(phrase)}
    assert 0.1 < len(kept) / len(all_descriptions("spleen")) < 0.35
    rng = np.random.default_rng(0)
    said = " | ".join(str(describe("spleen", rng)) for _ in range(2000))
    assert not [phrase for phrase in kept if phrase in said.split(" | ")]
    assert sum(phrase in said for phrase in all_descriptions("spleen")) > 50


def test_of_what_is_strange_some_is_described():
    rng = np.random.default_rng(0)
    thing = describe_strange(rng)
    assert len(thing.split()) > 2 and not any(thing in all_descriptions(name) for name in DESCRIPTIONS)
    said = [say_stranger(rng) for _ in range(2000)]
    assert 0.01 < np.mean([" of the " in text or " in the " in text for text, kinds in said if not kinds]) < 0.5
