"""The driver, a worker or a reader killed on the way: nothing is lost, nothing twice in the table, no file torn."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from pyarrow import parquet

from medclipsam_monai.archive.parts import FOLDER
from medclipsam_monai.io.records import is_unchanged, read_record
from medclipsam_monai.phantoms.samples import sample_pictures

IMAGES = 10
LOOPBACK = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
"""As the kernel writes 127.0.0.1, ::1 and ::ffff:127.0.0.1."""
SEEDED = random.Random(5)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kills") / "in"
    folder.mkdir()
    for number in range(IMAGES):
        shutil.copy(sample_pictures()["xray_normal"], folder / f"x{number}.png")
    return folder


@pytest.fixture
def start(images, tmp_path):
    """Start the command in a process of its own."""
    begun = []

    def call() -> subprocess.Popen:
        words = ["archive", images, "-o", tmp_path / "out", "-t", "lungs", "--preset", "demo", "--device", "cpu"]
        command = [sys.executable, "-m", "medclipsam_monai", *map(str, words), "--no-overlay"]
        begun.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        return begun[-1]

    yield call
    for process in begun:
        process.kill()
        process.wait()


def below(parent: int) -> dict[int, str]:
    """The processes that a process started, and those that they did: number -> command line."""
    parents, titles = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
    found, fresh = {}, {parent}
    while fresh:
        fresh = {number for number, above in parents.items() if above in fresh and number in titles}
        found |= {number: titles[number] for number in fresh}
    return found


def reachable(numbers: Iterable[int]) -> list[str]:
    """Addresses that processes listen on and that are not the loopback's."""
    sockets = set()
    for number in numbers:
        with contextlib.suppress(OSError):
            sockets |= {os.readlink(file) for file in Path("/proc", str(number), "fd").iterdir()}
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    ours = [line for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in sockets]
    assert ours, "Ray listens somewhere"
    return [line[1] for line in ours if line[1].split(":")[0] not in LOOPBACK]


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
    started = below(process.pid)
    assert reachable([process.pid, *started]) == []
    process.kill()
    process.wait()
    workers = [number for number, title in started.items() if title.startswith("ray::Map")]
    assert workers
    wait_until(lambda: not any(Path("/proc", str(number)).exists() for number in workers), seconds=60)
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
    killed: list[int] = []
    while not killed:
        assert process.poll() is None, process.communicate()[0].decode()
        killed = [number for number, words in below(process.pid).items() if words.startswith(title)]
    assert reachable([process.pid, *below(process.pid)]) == []
    for number in killed:
        os.kill(number, signal.SIGKILL)
    told = process.communicate()[0].decode()
    assert process.returncode == 0, told
    assert "internal error" not in told and "failed  " not in told
    assert_complete(out)
