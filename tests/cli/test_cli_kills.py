"""A run that is killed, at any step, and two at once: a record is never beside another request's mask."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from medclipsam_monai.phantoms.samples import sample_pictures

pytestmark = pytest.mark.minutes


@pytest.fixture(scope="module")
def rounds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kills")
    (folder / "in").mkdir()
    for name in "abcd":
        shutil.copy(sample_pictures()["xray_normal"], folder / "in" / f"{name}.png")
    script = Path(__file__).parents[1] / "helpers" / "kill_points.py"
    words = [sys.executable, str(script), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_killed_on_its_way_over_another_text_nothing_is_ever_wrongly_skipped(rounds):
    first, second = rounds["expected"]["first"], rounds["expected"]["second"]
    assert first["a_mask.png"] != second["a_mask.png"] and first["a_overlay.png"] != second["a_overlay.png"]
    assert len(rounds["over_another"]) > 10
    for number, after in enumerate(rounds["over_another"]):
        assert after["killed"], f"step {number}: a record beside other outputs"
        kind, found = after["first"]
        assert found == (second if kind == "failed" else first), f"step {number}: {kind}"
        assert after["second"] == [1, second], f"step {number}: the same command finishes it"


def test_killed_in_an_empty_folder_neither_the_same_nor_another_text_is_in_its_own_way(rounds):
    first, second = rounds["expected"]["first"], rounds["expected"]["second"]
    assert len(rounds["from_nothing"]) > 10
    for number, after in enumerate(rounds["from_nothing"]):
        assert after["same"] == [0, first], f"step {number}"
        assert after["other"] == ([1, first] if after["finished"] else [0, second]), f"step {number}"


def test_two_processes_on_one_folder_share_the_work_and_never_mix_their_files(rounds):
    for number, both in enumerate(rounds["side_by_side"]):
        assert both["codes"] == [0, 0] and both["whole"]
        assert [told["failed"] for told in both["told"]] == [[], []]
        assert not [name for name in both["files"] if name.startswith(".")]
        assert len(both["files"]) == 12
        done = sum(told["done"] for told in both["told"])
        assert done == (8 if number % 2 else 4), "with one text each image is segmented once"
