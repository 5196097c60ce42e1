"""A command whose processes, its Ray's among them, are looked at while it runs: memory, and processor time by kind."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.robustness.archive.bench import MARK, marked

_EVERY = 0.5  # seconds between two looks, or more:
_SHARE = 0.1  # of the time for looking, at most
_TICK = os.sysconf("SC_CLK_TCK")
_OF_RAY = {"ray::MapWorker": "networks", "ray::MapBatches": "readers and writers"}
_DRIVER = (" -m medclipsam_monai ", " -m tools.")


@dataclass(frozen=True)
class Look:
    """One look at the processes.

    Attributes:
        seconds: since the start.
        done: images.
        processor: seconds spent so far, by kind of process.
        memory: bytes by kind; what several processes share counts once.
        processes: how many there are, by kind.
    """

    seconds: float
    done: int
    processor: dict[str, float]
    memory: dict[str, int]
    processes: dict[str, int] = field(default_factory=dict)


@dataclass
class Watched:
    """What was seen of a command.

    Attributes:
        code: its exit code.
        out: what it printed to standard output.
        looks: one after the other.
    """

    code: int
    out: str
    looks: list[Look]

    @property
    def peak(self) -> Look:
        """When the bytes of all kinds together were most."""
        return max(self.looks, key=lambda look: sum(look.memory.values()))

    def at(self, share: float) -> Look:
        """When a share of the images was done."""
        return next(look for look in self.looks if look.done >= share * self.looks[-1].done)

    def each(self, start: float) -> dict[str, float]:
        """What an image takes once a share of them is done: processor seconds by kind, and ``wall`` between two."""
        first, last = self.at(start), self.at(1)
        if first is last:  # all were done between two looks
            first = self.looks[max(self.looks.index(last) - 1, 0)]
        count = max(last.done - first.done, 1)
        spent = {kind: (value - first.processor.get(kind, 0.0)) / count for kind, value in last.processor.items()}
        return {**spent, "wall": (last.seconds - first.seconds) / count}


def watch(command: Sequence[str], done: Callable[[], int] = lambda: 0) -> Watched:
    """Run a command to its end and look at its processes twice a second, or less often where a look takes long.

    Args:
        command: words.
        done: how many images are done.
    """
    mark = secrets.token_hex(8)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as told:  # a pipe would be full some day
        process = subprocess.Popen(command, stdout=told, env={**os.environ, MARK: mark})
        looks = list(_looks(process, mark, done))
        told.seek(0)
        return Watched(process.returncode, told.read(), looks)


def _looks(process: subprocess.Popen[bytes], mark: str, done: Callable[[], int]) -> Iterator[Look]:
    began = time.monotonic()
    kinds: dict[int, str] = {}
    spent: dict[int, float] = {}  # also of those that have ended
    while process.poll() is None:
        memory, processes, looked = Counter[str](), Counter[str](), time.monotonic()
        count = done()
        for number, words in marked(mark).items():
            with contextlib.suppress(OSError, ValueError, IndexError):
                kinds[number] = _kind(words, kinds.get(number))
                memory[kinds[number]] += _bytes(number)
                processes[kinds[number]] += 1
                spent[number] = _spent(number)
        processor: dict[str, float] = dict.fromkeys(kinds.values(), 0.0)
        for number, seconds in spent.items():
            processor[kinds[number]] += seconds
        now = time.monotonic()
        yield Look(now - began, count, processor, dict(memory), dict(processes))
        time.sleep(max(_EVERY, (now - looked) / _SHARE))


def _kind(words: str, before: str | None) -> str:
    """What a process is by its command line; one of Ray's that waits for work stays what it was."""
    if any(word in words for word in _DRIVER):
        return "driver"
    return next((kind for title, kind in _OF_RAY.items() if words.startswith(title)), before or "Ray itself")


def _bytes(number: int) -> int:
    for line in Path("/proc", str(number), "smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return 1024 * int(line.split()[1])
    return 0


def _spent(number: int) -> float:
    cells = Path("/proc", str(number), "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return (int(cells[11]) + int(cells[12])) / _TICK
