"""After a kill, or with two processes on one folder, no record belongs to another mask: a small run of the tool."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tools.robustness.kill_bench import Bench, Run
from tools.robustness.kill_checks import leftovers, wrong_answers, wrong_records
from tools.robustness.kill_forks import Kill
from tools.robustness.kill_runs import one_kill, one_pair

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench.set_up(tmp_path_factory.mktemp("kill_runs"))


@pytest.fixture
def folder(bench, tmp_path) -> Path:
    """What a clean run of the first text leaves."""
    return Path(shutil.copytree(bench.clean["lungs"], tmp_path / "out"))


@pytest.mark.parametrize("number", [1, 2, 7])
def test_a_killed_run_leaves_no_record_of_another_mask(bench, tmp_path, number):
    what, killed, wrong = one_kill(bench, tmp_path / "out", number, seed=0)
    assert not wrong, what
    assert killed, what


@pytest.mark.parametrize("number", [0, 1])
def test_two_processes_on_one_folder_leave_no_record_of_another_mask(bench, tmp_path, number):
    what, _, wrong = one_pair(bench, tmp_path / "out", number, seed=0)
    assert not wrong, what


def test_a_kill_hits_before_the_change_it_names(bench, tmp_path):
    run = bench.run("lungs", tmp_path / "out", kill=Kill(1))
    assert run == Run(ended=False)
    assert not list((tmp_path / "out").iterdir())


def test_a_clean_run_has_nothing_wrong(bench, folder):
    run = bench.run("lungs", folder)
    assert sorted(run.skipped) == ["slice.nii.gz", "xray_normal.png", "xray_pacemaker.png"]
    assert not list(wrong_records(folder, bench.clean))
    assert not list(wrong_answers(run, "lungs", folder, bench.clean))
    assert not list(leftovers(folder, bench.clean["lungs"]))


def test_a_mask_of_another_text_is_seen(bench, folder):
    shutil.copy(bench.clean["heart"] / "slice_mask.nii.gz", folder)
    found = list(wrong_records(folder, bench.clean))
    assert found[0] == "slice.json says 'lungs', and slice_mask.nii.gz is of another text"
    assert all("slice_mask.nii.gz" in line for line in found)


def test_a_record_of_another_text_and_a_missing_output_are_seen(bench, folder):
    record = json.loads((folder / "slice.json").read_text(encoding="utf-8"))
    (folder / "slice_mask.nii.gz").unlink()
    assert list(wrong_records(folder, bench.clean)) == ["slice.json names slice_mask.nii.gz, which is not there"]
    (folder / "slice.json").write_text(json.dumps({**record, "request": "0"}), encoding="utf-8")
    assert "slice.json is not what a clean run of 'lungs' writes" in list(wrong_records(folder, bench.clean))
    (folder / "slice.json").write_text("{", encoding="utf-8")
    assert list(wrong_records(folder, bench.clean)) == ["slice.json is damaged"]


def test_what_a_run_says_is_compared_with_the_folder(bench, folder):
    def wrong(**said):
        return list(wrong_answers(Run(ended=True, **said), "heart", folder, bench.clean))

    other = "slice.nii.gz is skipped for 'heart', its record is of another text"
    assert wrong(skipped=("slice.nii.gz",)) == [other]
    assert wrong(failed={"slice.nii.gz": "is in the way"}) == []
    assert wrong(failed={"slice.nii.gz": "is\nin the way"}) == [
        "slice.nii.gz failed with several lines: 'is\\nin the way'"
    ]
    assert wrong(trouble="KeyError: 1") == ["a run of 'heart': KeyError: 1"]
    (folder / "slice.json").unlink()
    assert wrong(done=("slice.nii.gz",)) == ["slice.nii.gz is done for 'heart' and has no record ()"]


def test_files_too_many_and_too_few_are_seen(bench, folder):
    (folder / ".slice_mask.1.part.nii.gz").touch()
    (folder / "slice_overlay.png").unlink()
    assert list(leftovers(folder, bench.clean["lungs"])) == [
        ".slice_mask.1.part.nii.gz is left over",
        "slice_overlay.png is missing",
    ]
