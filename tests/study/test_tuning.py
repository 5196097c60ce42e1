"""Gamma and layer chosen by labels and without, kept, and written as a preset that works."""

from __future__ import annotations

import json
import re

import pytest
import torch
from test_study_cases import make_table

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.presets import DEFAULT_PRESET, load_preset
from medclipsam_monai.saliency.m2ib import M2IB
from medclipsam_monai.study.tuning import Candidate, TuningImage, choose

QUICK = {"method": "m2ib", "steps": 2, "samples": 2}
CANDIDATES = [Candidate(gamma, layer) for gamma in (0.1, 2.0) for layer in (1, 2)]


def only_gamma_2_finds_it(self, encoder, image, text):
    """Stands for M2IB: the left half with gamma 2, else the right half."""
    maps = torch.zeros(len(image), len(text), *image.shape[-2:])
    half = image.shape[-1] // 2
    maps[..., slice(0, half) if self.gamma == 2.0 else slice(half, None)] = 1.0
    return maps


@pytest.fixture
def preset(tiny_preset):
    return load_preset(tiny_preset)


@pytest.fixture
def text(encoder):
    return encoder.encode_text(["lungs"])[0]


def left_half() -> TuningImage:
    mask = torch.zeros(32, 40, dtype=torch.bool)
    mask[:, :20] = True
    return TuningImage(torch.rand(3, 32, 40, generator=torch.Generator().manual_seed(1)), mask)


def test_labels_choose_the_map_that_finds_the_mask(encoder, preset, text, monkeypatch):
    monkeypatch.setattr(M2IB, "__call__", only_gamma_2_finds_it)
    scores = choose(encoder, preset, [left_half()], text, CANDIDATES)
    assert {candidate.gamma: score for candidate, score in scores.items()} == {0.1: 0.0, 2.0: 1.0}


def test_without_labels_the_score_is_insertion_minus_deletion(encoder, preset, text, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "medclipsam_monai.study.tuning.insertion_minus_deletion",
        lambda encoder, image, text, saliency: asked.append(saliency.shape) or torch.tensor([0.25]),
    )
    images = [TuningImage(left_half().picture)] * 2
    assert set(choose(encoder, preset, images, text, CANDIDATES[:1]).values()) == {0.25}
    assert asked == [(1, 32, 40)] * 2


def test_known_scores_are_not_computed_again(encoder, preset, text, monkeypatch):
    monkeypatch.setattr(M2IB, "__call__", lambda *_: pytest.fail("computed again"))
    known = dict.fromkeys(CANDIDATES, 0.5)
    assert choose(encoder, preset, [left_half()], text, CANDIDATES, known) == known


@pytest.mark.parametrize(
    ("images", "settings", "candidate", "message"),
    [
        ([], {}, Candidate(1.0, 1), "there is no image"),
        ([left_half(), TuningImage(left_half().picture)], {}, Candidate(1.0, 1), "some have none"),
        ([left_half()], {"saliency.method": "gradcam"}, Candidate(1.0, 1), "uses gradcam"),
        ([left_half()], {}, Candidate(1.0, 99), "99"),
        ([left_half()], {}, Candidate(-1.0, 1), "saliency.gamma must be a number from 0 to 1,000,000, got -1.0"),
    ],
)
def test_what_cannot_be_tuned_is_refused(encoder, preset, text, images, settings, candidate, message):
    with pytest.raises(InputError, match=message):
        choose(encoder, preset.with_settings(settings), images, text, [candidate])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two pictures with their masks, and a weights folder of this test's own."""
    monkeypatch.setenv("MEDCLIPSAM_HOME", str(tmp_path / "home"))
    make_table(tmp_path, [("chest", "a0"), ("chest", "a1")])
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for stem in ("a0", "a1"):
        (tmp_path / f"{stem}.png").rename(tmp_path / "images" / f"{stem}.png")
        (tmp_path / f"{stem}_mask.png").rename(tmp_path / "labels" / f"{stem}.png")
    return tmp_path


def arguments(folder, tiny_preset, *more: object) -> list[str]:
    options = ["--text", "lungs", "--task", "chest", "-o", folder / "tuned.json", "--preset", tiny_preset]
    return [str(part) for part in ("tune", folder / "images", *options, "--gamma", "0.1,2", "--layer", "1,2", *more)]


def test_the_command_writes_a_preset_and_keeps_its_scores(folder, tiny_preset, command, monkeypatch):
    words = arguments(folder, tiny_preset, "--labels", folder / "labels")
    code, output, error = command(*words)
    assert code == 0, error
    tuned = load_preset(folder / "tuned.json").for_task("chest")
    assert f"chosen: gamma {tuned.settings.saliency['gamma']:g}, layer {tuned.settings.saliency['layer']}" in output
    monkeypatch.setattr(M2IB, "__call__", lambda *_: pytest.fail("computed again"))
    assert command(*words) == (0, output, error)
    content = json.loads((folder / "tuned.json").read_text())
    assert content["tasks"]["chest"]["description"] == "gamma and layer chosen on 2 labelled images"


@pytest.mark.parametrize(("own", "tried"), [(3, {"1", "2", "3"}), (0, {"0"})])
def test_without_layers_the_presets_own_and_the_two_before_it_are_tried(folder, tiny_preset, command, own, tried):
    mine = folder / "mine.json"
    mine.write_text(json.dumps({"extends": str(tiny_preset), "saliency": {**QUICK, "layer": own}}))
    words = ["tune", folder / "images", "--text", "lungs", "--task", "chest", "-o", folder / "tuned.json"]
    code, output, error = command(*words, "--preset", mine, "--gamma", "1", "--limit", "1")
    assert code == 0, error
    assert set(re.findall(r"^gamma 1, layer (\d+): ", output, re.MULTILINE)) == tried


def test_the_default_preset_can_be_tuned_without_layers(folder, command):
    words = ["tune", folder / "images", "--text", "lungs", "--task", "chest", "-o", folder / "tuned.json"]
    code, _, error = command(*words, "--gamma", "1", "--limit", "1")
    assert code == 0, error
    assert json.loads((folder / "tuned.json").read_text())["extends"] == DEFAULT_PRESET


def test_without_labels_another_task_is_added_to_the_file(folder, tiny_preset, command):
    assert command(*arguments(folder, tiny_preset, "--labels", folder / "labels"))[0] == 0
    code, _, error = command(*("other" if word == "chest" else word for word in arguments(folder, tiny_preset)))
    assert code == 0, error
    assert set(load_preset(folder / "tuned.json").tasks) == {"chest", "other"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--gamma", "small"], "--gamma must be numbers"),
        (["--layer", "1.5"], "--layer must be whole numbers"),
        (["--text", ""], "empty"),
        (["--layer", "99"], "99"),
    ],
)
def test_wrong_options_are_one_line(folder, tiny_preset, command, change, message):
    code, _, error = command(*arguments(folder, tiny_preset, *change))
    assert code == 2 and message in error and len(error.strip().splitlines()) == 1
    assert not (folder / "tuned.json").exists()


def test_an_image_without_a_mask_and_a_foreign_file_are_refused(folder, tiny_preset, command):
    (folder / "labels" / "a1.png").unlink()
    code, _, error = command(*arguments(folder, tiny_preset, "--labels", folder / "labels"))
    assert code == 2 and "has no mask of a1" in error
    (folder / "tuned.json").write_text("{}", encoding="utf-8")
    code, _, error = command(*arguments(folder, tiny_preset))
    assert code == 2 and "is no tuned preset" in error
    assert (folder / "tuned.json").read_text() == "{}"
