"""What small networks learn real images from; phantoms in files stand for real images."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from medclipsam_monai.data.held_out import is_held_out
from medclipsam_monai.errors import InputError
from medclipsam_monai.prompts import load_prompt_set
from medclipsam_monai.study.cases import draw_phantom_table, read_cases
from medclipsam_monai.training.real_images import (
    caption_cases,
    caption_phantoms,
    joined,
    masks_corpus,
    true_sentences,
)
from medclipsam_monai.training.side_by_side import run_side_by_side

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "train_small_real.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A table of breast phantoms and X-rays, as segmentation.csv."""
    folder = tmp_path_factory.mktemp("data")
    draw_phantom_table(folder, 8, ["breast_ultrasound", "lung_xray"]).rename(folder / "segmentation.csv")
    return folder


@pytest.fixture(scope="module")
def cases(data):
    return read_cases(data / "segmentation.csv")


def test_a_greater_share_holds_the_smaller_one():
    names = [f"image_{n}" for n in range(200)]
    third, half = ({name for name in names if is_held_out(name, share)} for share in (1 / 3, 1 / 2))
    assert third < half and 40 < len(third) < 95 < len(half) + 20


def test_sentences_hold_for_what_the_image_shows():
    prompts = load_prompt_set("breast_ultrasound")
    benign, unknown = true_sentences(prompts, "benign", True), true_sentences(prompts, "", True)
    assert "breast tumor" in benign and any("benign" in sentence for sentence in benign)
    assert not any("malignant" in sentence for sentence in benign)
    assert not any("benign" in sentence or "malignant" in sentence for sentence in unknown)
    assert true_sentences(prompts, "normal", False) == prompts.opposites


def test_captions_are_different_true_sentences_of_each_image(cases):
    rows = list(caption_cases(cases, 2))
    for case in cases:
        own = [row.caption for row in rows if row.case == case.image.stem]
        assert len(set(own)) == 2
        assert set(own) <= set(true_sentences(load_prompt_set(case.task), case.finding, bool(case.load()[1].any())))
    assert rows == list(caption_cases(cases, 2))


def test_phantoms_are_drawn_once(tmp_path):
    rows = list(caption_phantoms(4, tmp_path))
    times = [Path(row.image).stat().st_mtime_ns for row in rows]
    assert rows == list(caption_phantoms(4, tmp_path))
    assert times == [Path(row.image).stat().st_mtime_ns for row in rows]


def test_the_corpus_holds_the_images_that_show_their_target_with_its_mask(cases):
    corpus = masks_corpus(cases)
    shown = [case for case in cases if case.load()[1].any()]
    assert len(corpus) == len(shown) < len(cases)
    for index, case in enumerate(shown):
        picture, mask = case.load()
        np.testing.assert_array_equal(corpus.mask(index, case.target), mask.numpy())
        assert np.abs(corpus.images[index] / 255 - picture.mean(dim=0).numpy()).max() < 0.01


def test_a_wide_image_keeps_its_proportions_in_the_square(cases, monkeypatch):
    case = next(case for case in cases if case.load()[1].any())
    picture, mask = case.load()
    monkeypatch.setattr(type(case), "load", lambda _: (picture[:, 64:192], mask[64:192]))
    corpus = masks_corpus([case])
    np.testing.assert_array_equal(corpus.mask(0, case.target)[:128], mask[64:192].numpy())
    assert not corpus.mask(0, case.target)[128:].any() and not corpus.images[0, 128:].any()


def test_images_without_their_target_train_no_sam(cases):
    with pytest.raises(InputError, match="none of the"):
        masks_corpus([case for case in cases if not case.load()[1].any()])


def test_joining_repeats_the_second(cases):
    corpus = masks_corpus(cases)
    both = joined(corpus, corpus, repeat=2)
    assert len(both) == 3 * len(corpus)
    np.testing.assert_array_equal(both.masks[len(corpus) : 2 * len(corpus)], corpus.masks)


def test_a_training_that_fails_is_said():
    with pytest.raises(SystemExit, match="training the second failed with exit code 3"):
        run_side_by_side({"second": (sys.exit, (3,))})


def test_the_script_trains_both_networks_and_writes_a_preset(data, tmp_path):
    sizes = ["--phantoms", "24", "--captions", "1", "--epochs", "1", "--batch", "8"]
    sizes += ["--sam-steps", "2"]
    command = [sys.executable, str(SCRIPT), str(data), "--output", str(tmp_path / "real"), *sizes]
    subprocess.run(command, check=True)
    preset = json.loads((tmp_path / "real" / "preset.json").read_text(encoding="utf-8"))
    for network in ("clip", "sam"):
        assert any(load_file(file) for file in Path(preset[network]).glob("*.safetensors"))
    halves = [read_cases(tmp_path / "real" / f"{name}.csv") for name in ("train", "test")]
    assert sum(map(len, halves)) == 16 and not {c.image for c in halves[0]} & {c.image for c in halves[1]}
    with (tmp_path / "real" / "pairs.csv").open(newline="", encoding="utf-8") as file:
        captioned = {row["case"] for row in csv.DictReader(file)}
    assert {case.image.stem for case in halves[0]} <= captioned
    assert not {case.image.stem for case in halves[1]} & captioned


def test_a_folder_without_a_table_is_one_line(tmp_path):
    command = [sys.executable, str(SCRIPT), str(tmp_path / "none"), "--output", str(tmp_path / "real")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].startswith("train_small_real: no such table")
    assert not (tmp_path / "real").exists()
