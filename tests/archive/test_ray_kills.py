"""The driver, a worker or a reader killed on the way: nothing is lost, nothing twice in the table, no file torn."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pyarrow import parquet

from medclipsam_monai.archive.parts import FOLDER
from medclipsam_monai.io.records import is_unchanged, read_record
from medclipsam_monai.phantoms.samples import sample_pictures

IMAGES = 10
SEEDED = random.Random(5)
MARK = "MEDCLIPSAM_TEST_RUN"


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kills") / "in"
    folder.mkdir()
    for number in range(IMAGES):
        shutil.copy(sample_pictures()["xray_normal"], folder / f"x{number}.png")
    return folder


@pytest.fixture
def start(images, tmp_path):
    """Start the command in a process of its own; its temporary folder is the test's."""
    begun = []

    def call() -> subprocess.Popen:
        words = ["archive", images, "-o", tmp_path / "out", "-t", "lungs", "--preset", "demo", "--device", "cpu"]
        command = [sys.executable, "-m", "medclipsam_monai", *map(str, words), "--no-overlay"]
        environment = {**os.environ, MARK: str(tmp_path)}
        begun.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        return begun[-1]

    yield call
    for process in begun:
        process.kill()
        process.wait()


def processes(mark: Path, title: str) -> list[int]:
    """The processes of the run whose command lines begin with a title."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
            if marked and (folder / "cmdline").read_bytes().startswith(title.encode()):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def wait_until(what, process=None, seconds: float = 400) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come so far"
        assert process is None or process.poll() is None, process.communicate()[0].decode()
        time.sleep(0.02)


def masks(folder: Path) -> int:
    return len(list(folder.glob("*_mask.png")))


def table(folder: Path) -> list[tuple[str, str]]:
    parts = sorted((folder / FOLDER).glob("part-*.parquet"))
    return sorted((row["name"], row["state"]) for part in parts for row in parquet.read_table(part).to_pylist())


def assert_whole(folder: Path) -> None:
    for path in folder.glob("*.json"):
        outputs = (read_record(path) or {})["outputs"]
        assert outputs and all(is_unchanged(folder / name, sha256) for name, sha256 in outputs.items())


def assert_complete(folder: Path) -> None:
    assert_whole(folder)
    assert masks(folder) == IMAGES == len(list(folder.glob("*.json")))
    assert table(folder) == [(f"x{number}", "done") for number in range(IMAGES)]
    assert len({path.read_bytes() for path in folder.glob("*_mask.png")}) == 1


@pytest.mark.parametrize("after", sorted(SEEDED.sample(range(1, IMAGES), 2)))
def test_a_killed_driver_takes_all_with_it_and_the_same_command_finishes(start, tmp_path, after):
    out, process = tmp_path / "out", start()
    wait_until(lambda: masks(out) >= after, process)
    process.kill()
    process.wait()
    wait_until(lambda: not processes(tmp_path, ""), seconds=60)
    names = [name for name, _ in table(out)]
    assert len(names) == len(set(names))
    done = len(list(out.glob("*.json")))
    again = start()
    told = again.communicate()[0].decode()
    assert again.returncode == 0, told
    assert f"{IMAGES - done} done, {done} skipped, 0 failed" in told
    assert_complete(out)


@pytest.mark.parametrize("title", ["ray::MapWorker", "ray::MapBatches(_each)"])
def test_a_killed_worker_or_reader_is_replaced_and_nothing_is_lost(start, tmp_path, title):
    out, process, after = tmp_path / "out", start(), SEEDED.randrange(1, IMAGES // 2)
    wait_until(lambda: masks(out) >= after, process)
    wait_until(lambda: processes(tmp_path, title), process)
    for number in processes(tmp_path, title):
        os.kill(number, signal.SIGKILL)
    told = process.communicate()[0].decode()
    assert process.returncode == 0, told
    assert "internal error" not in told and "failed  " not in told
    assert_complete(out)
