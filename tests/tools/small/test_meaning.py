"""Descriptions learnt by the text half alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from medclipsam_monai.weights.clip_folder import find_weights
from medclipsam_monai.weights.registry import resolve
from medclipsam_monai.weights.state_dicts import read_state_dict
from tools.small.texts import meaning
from tools.small.texts.descriptions import DESCRIPTIONS, all_descriptions
from tools.small.texts.words import CONCEPTS


def run(*arguments):
    app = typer.Typer()
    app.command()(meaning.main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_lesson_pairs_a_description_with_a_name_in_the_same_sentence():
    of = meaning.lesson(np.random.default_rng(0))
    assert len(of.said) == len(of.meant) + 32
    pairs = list(zip(of.said, of.meant, strict=False))[: 4 * len(DESCRIPTIONS)]
    for number, name in enumerate(DESCRIPTIONS):
        for said, meant in pairs[4 * number : 4 * number + 4 : 2]:
            named = [word for word in CONCEPTS[name].names if word in meant]
            assert named and said != meant
            assert any(phrase.split()[0] in said for phrase in all_descriptions(name))
        for said, meant in pairs[4 * number + 1 : 4 * number + 4 : 2]:
            assert said == meant


@pytest.mark.slow
def test_descriptions_come_nearer_to_names_and_the_picture_half_stays(tmp_path, caplog):
    clip = resolve("small/clip")
    caplog.set_level("INFO", "meaning")
    result = run(clip, "--output", tmp_path / "clip", "--steps", 6, "--device", "cpu")
    assert result.exit_code == 0, result.output
    before, after = read_state_dict(find_weights(clip)), read_state_dict(find_weights(tmp_path / "clip"))
    assert before.keys() == after.keys()
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed and all(name.startswith("text.") for name in changed)
    told = [record.getMessage() for record in caplog.records if record.name == "meaning"]
    assert told[0].startswith("before: ") and told[-1].startswith("after: ")
    assert "names kept 1.000" in told[0]


def test_no_clip_is_one_line(tmp_path):
    result = run(tmp_path / "gone", "--output", tmp_path / "out")
    assert result.exit_code == 2 and result.output.startswith("meaning: ") and len(result.output.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_clip_of_another_kind_is_one_line(tmp_path):
    result = run(resolve("demo/clip"), "--output", tmp_path / "out")
    assert result.exit_code == 2 and "is no CLIP of the small networks' kind" in result.output
    assert not (tmp_path / "out").exists()
