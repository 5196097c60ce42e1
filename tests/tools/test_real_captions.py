"""Captions of real images, and the script that trains on them; phantoms in files stand for real images."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.prompts import load_prompt_set
from medclipsam_monai.study.cases import read_cases
from medclipsam_monai.study.phantom_table import draw_phantom_table
from tools.data.held_out import is_held_out
from tools.training.real_captions import caption_cases, caption_phantoms, true_sentences
from tools.training.side_by_side import run_side_by_side

ROOT = Path(__file__).resolve().parents[2]


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


def test_a_training_that_fails_is_said():
    with pytest.raises(SystemExit, match="training the second failed with exit code 3"):
        run_side_by_side({"second": (sys.exit, (3,))})


def train(data: Path, output: Path, *words: str) -> None:
    """The script at its smallest; the preset it wrote names networks that are there."""
    sizes = ["--phantoms", "24", "--sam-steps", "2", *words]
    subprocess.run(
        [sys.executable, "-m", "tools.training.small_real", str(data), "--output", str(output), *sizes], check=True
    )
    preset = json.loads((output / "preset.json").read_text(encoding="utf-8"))
    for network in ("clip", "sam"):
        assert any(load_file(file) for file in Path(preset[network]).glob("*.safetensors"))


@pytest.mark.minutes
def test_the_script_trains_on_captions(data, tmp_path):
    train(data, tmp_path / "real", "--epochs", "1", "--batch", "8")
    halves = [read_cases(tmp_path / "real" / f"{name}.csv") for name in ("train", "test")]
    assert sum(map(len, halves)) == 16 and not {c.image for c in halves[0]} & {c.image for c in halves[1]}
    with (tmp_path / "real" / "pairs.csv").open(newline="", encoding="utf-8") as file:
        captioned = {row["case"] for row in csv.DictReader(file)}
    assert {case.image.stem for case in halves[0]} <= captioned
    assert not {case.image.stem for case in halves[1]} & captioned


@pytest.mark.minutes
def test_the_script_trains_on_masks_and_reads_no_captions(data, tmp_path):
    train(data, tmp_path / "real", "--clip-learns", "masks", "--clip-steps", "2")
    assert not (tmp_path / "real" / "pairs.csv").exists()
    load_text_image_encoder(tmp_path / "real" / "clip")


def test_a_folder_without_a_table_is_one_line(tmp_path):
    command = [
        sys.executable,
        "-m",
        "tools.training.small_real",
        str(tmp_path / "none"),
        "--output",
        str(tmp_path / "real"),
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].startswith("small_real: no such table")
    assert not (tmp_path / "real").exists()
