"""A full disk, a removed folder, another clock, one broken file in a thousand: one line each, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medclipsam_monai import TextSegmenter
from medclipsam_monai.zero_shot.batch import segment_files
from tools.robustness.kill_bench import Bench
from tools.robustness.mishaps import one_clock, one_disk, one_removed_folder

pytestmark = pytest.mark.minutes
THOUSAND = 1000


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench.set_up(tmp_path_factory.mktemp("mishaps"))


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on_once_there_is_room(bench, tmp_path, number):
    what, failed, wrong = one_disk(bench, tmp_path / "out", number, seed=1)
    assert wrong == [], what
    assert failed, what


def test_a_folder_that_is_removed_meanwhile_is_made_again_or_missed_in_one_line(bench, tmp_path):
    what, _, wrong = one_removed_folder(bench, tmp_path / "out", 0, seed=1)
    assert wrong == [], what


def test_a_clock_that_is_set_and_runs_backwards_decides_nothing(bench, tmp_path):
    what, _, wrong = one_clock(bench, tmp_path / "out", 0, seed=1)
    assert wrong == [], what


def test_one_broken_file_in_a_thousand_is_named_and_the_others_are_done(tiny_preset, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8))
    for number in range(THOUSAND):
        picture.save(tmp_path / "in" / f"x{number:04d}.png")
    broken = tmp_path / "in" / "x0517.png"
    broken.write_bytes(broken.read_bytes()[:60])
    segmenter = TextSegmenter.from_preset(tiny_preset, device="cpu")
    summary = segment_files(segmenter, [tmp_path / "in"], "lungs", tmp_path / "out")
    assert len(summary.done) == THOUSAND - 1 and len(list((tmp_path / "out").glob("*_mask.png"))) == THOUSAND - 1
    ((label, reason),) = summary.failed
    assert label == str(broken) and broken.name in reason and "\n" not in reason
    again = segment_files(segmenter, [tmp_path / "in"], "lungs", tmp_path / "out")
    assert (len(again.done), len(again.skipped), len(again.failed)) == (0, THOUSAND - 1, 1)
