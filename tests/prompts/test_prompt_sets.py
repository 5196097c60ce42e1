"""Prompt sets: what ships is whole and medically right, and what a user gives is checked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.prompts import LEVELS, load_prompt_set, prompt_set_names, read_prompts
from medclipsam_monai.prompts.prompt_set import OF_A_FINDING, SET_FOLDER

FOREIGN = {
    "ultrasound": r"mammogra|x-ray|radiograph|\bCT\b|\bMRI?\b",
    "MRI": r"mammogra|x-ray|radiograph|\bCT\b|ultrasound|sonogram",
    "CT": r"mammogra|x-ray|radiograph|\bMRI?\b|ultrasound|sonogram",
    "X-ray": r"mammogra|\bCT\b|\bMRI?\b|ultrasound|sonogram",
}
TASKS = ("breast_ultrasound", "brain_mri", "lung_xray", "lung_ct")


def test_the_four_tasks_and_common_organs_ship():
    assert set(TASKS) <= set(prompt_set_names())
    assert len(prompt_set_names()) >= len(TASKS) + 10


@pytest.mark.parametrize("name", prompt_set_names())
def test_a_set_that_ships_is_whole(name):
    prompts = load_prompt_set(name)
    assert len(prompts.wordings) == 10
    assert len({re.sub(r"\W+", " ", wording).strip().lower() for wording in prompts.wordings}) == 10
    assert len(prompts.levels["P0"][0].split()) <= 3
    for level, several in (("P0", False), ("P1", False), ("P2", False), ("P4", True)):
        assert (len(prompts.levels[level]) > 1) == several
    assert prompts.opposites and not set(prompts.opposites) & set(prompts.wordings)
    for opposite in prompts.opposites:
        assert not re.match(rf"(the |a )?{re.escape(prompts.target)}", opposite, re.IGNORECASE)


@pytest.mark.parametrize("name", prompt_set_names())
def test_no_sentence_names_another_modality(name):
    text = (SET_FOLDER / f"{name}.json").read_text(encoding="utf-8")
    modality = load_prompt_set(name).modality
    for kind, pattern in FOREIGN.items():
        if modality.endswith(kind):
            assert not re.search(pattern, text, re.IGNORECASE if kind != "CT" else 0)


def test_levels_of_a_finding_name_it():
    for task in TASKS:
        prompts = load_prompt_set(task)
        assert set(prompts.findings) in (set(), set(OF_A_FINDING))
        for sentences in prompts.findings.get("P3", {}).values():
            assert len(sentences) == 1
    assert "glioma" in load_prompt_set("brain_mri").target_at("P3", "glioma").sentences[0]
    assert not load_prompt_set("lung_ct").has("P3"), "the papers have none for lung CT either"
    assert not load_prompt_set("breast_ultrasound").has("P3", "normal")


def test_a_reference_gives_the_level_s_sentences_and_the_opposites():
    prompts = load_prompt_set("breast_ultrasound")
    (target,) = read_prompts("breast_ultrasound")
    assert (target.name, target.sentences) == ("breast tumor", ("breast tumor",))
    assert target.opposites == prompts.opposites
    assert read_prompts("breast_ultrasound:P4")[0].sentences == prompts.levels["P4"]
    assert read_prompts("breast_ultrasound:P5:malignant")[0].sentences == prompts.findings["P5"]["malignant"]


def test_a_file_may_hold_a_set_or_classes(tmp_path: Path):
    own = tmp_path / "liver.json"
    own.write_text((SET_FOLDER / "liver_ct.json").read_text(encoding="utf-8"), encoding="utf-8")
    assert read_prompts(str(own))[0].name == "liver"
    assert read_prompts(f"{own}:P4")[0].sentences == load_prompt_set("liver_ct").levels["P4"]
    classes = tmp_path / "classes.json"
    classes.write_text('{"lungs": ["lungs", "both lungs"], "heart": "heart"}', encoding="utf-8")
    assert [target.name for target in read_prompts(str(classes))] == ["lungs", "heart"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("lung_xrays", "unknown prompt set 'lung_xrays'; expected one of .*lung_xray"),
        ("lung_ct:P3", "has no level 'P3'; it has P0, P1, P2, P4"),
        ("lung_ct:P9", "has no level 'P9'"),
        ("brain_mri:P3", "give brain_mri:P3:FINDING with one of glioma, meningioma"),
        ("brain_mri:P5:stroke", "names a finding"),
        ("none.json", "not a readable JSON file"),
    ],
)
def test_a_wrong_reference_is_refused(source, message):
    with pytest.raises(InputError, match=message):
        read_prompts(source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"opposites": None}, "lacks 'opposites'"),
        ({"more": 1}, "unknown key 'more'"),
        ({"target": " "}, "target of prompt set own must be words"),
        ({"levels": {"P1": ["a"]}}, "P0 among them"),
        ({"levels": {"P0": ["a"], "P7": ["a"]}}, f"some of {', '.join(LEVELS)}"),
        ({"levels": {"P0": ["a"], "P3": ["a"]}}, "P3 of prompt set own must hold sentences by finding"),
        ({"levels": {"P0": []}}, "P0 of prompt set own must be a list of sentences"),
        ({"wordings": ["a", ""]}, "wordings of prompt set own must be a list of sentences"),
    ],
)
def test_a_file_that_is_no_set_is_refused(tmp_path: Path, change, message):
    content = json.loads((SET_FOLDER / "liver_ct.json").read_text(encoding="utf-8")) | change
    own = tmp_path / "own.json"
    own.write_text(json.dumps({key: value for key, value in content.items() if value is not None}), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_prompt_set(own)
