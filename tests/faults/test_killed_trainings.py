"""Trainings that are killed go on to the end of an unbroken one, and two processes never train in one folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import FolderClaim
from tools.robustness.trainings.clip import ClipBench
from tools.robustness.trainings.kills import one_clip_kill, one_nnunet_kill
from tools.robustness.trainings.nnunet import NnunetBench

HOLDER = (
    "import sys, time; from pathlib import Path; from medclipsam_monai.base.files import FolderClaim;"
    "claim = FolderClaim(Path(sys.argv[1]), 'a training'); claim.take(); print('held', flush=True); time.sleep(120)"
)


@pytest.mark.minutes
@pytest.mark.parametrize("number", [0, 3])
def test_a_killed_fine_tuning_goes_on_to_the_weights_of_an_unbroken_one(tmp_path, number):
    what, killed, wrong = one_clip_kill(ClipBench.set_up(tmp_path), tmp_path / "out", number, seed=5)
    assert wrong == [], what
    assert killed, what


@pytest.mark.minutes
def test_a_killed_training_by_nnunet_goes_on_to_the_members_of_an_unbroken_one(tmp_path):
    bench = NnunetBench.set_up(tmp_path)
    for number in (0, 3):
        what, _, wrong = one_nnunet_kill(bench, tmp_path / "out", number, seed=5)
        assert wrong == [], what


@pytest.fixture
def holder(tmp_path):
    """Another process, which trains in a folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_folder_in_which_another_process_trains_is_refused_until_that_one_is_killed(holder, tmp_path, monkeypatch):
    monkeypatch.setattr("medclipsam_monai.base.files._PATIENCE", 0.1)
    claim = FolderClaim(tmp_path, "a training")
    with pytest.raises(InputError, match=r"^[^\n]* is in use: a training of another process runs there; [^\n]*$"):
        claim.take()
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    claim.take()
    claim.give_back()
    assert list(tmp_path.iterdir()) == []


def test_the_process_that_has_a_claim_may_take_it_again(tmp_path: Path) -> None:
    first = FolderClaim(tmp_path, "a training")
    first.take()
    with FolderClaim(tmp_path, "a training"):
        pass
    first.give_back()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"^cannot write in the output folder [^\n]*$"):
        FolderClaim(tmp_path / "file" / "run", "a training").take()
