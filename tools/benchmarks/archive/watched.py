"""A command whose processes, its Ray's among them, are looked at while it runs: memory, and processor time by kind."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.robustness.archive.bench import MARK, marked

_EVERY = 0.5  # seconds
_TICK = os.sysconf("SC_CLK_TCK")
_OF_RAY = {"ray::MapWorker": "networks", "ray::MapBatches": "readers and writers"}
_DRIVER = (" -m medclipsam_monai ", " -m tools.")


@dataclass
class Watched:
    """What was seen of a command.

    Attributes:
        code: its exit code.
        out: what it printed to standard output.
        seconds: from its start to its end.
        peak: bytes by kind at the moment when all together were most; memory that several share counts once.
        processor: seconds by kind.
    """

    code: int = 0
    out: str = ""
    seconds: float = 0.0
    peak: dict[str, int] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)

    @property
    def all_bytes(self) -> int:
        """Of all processes, at their peak."""
        return sum(self.peak.values())


def watch(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Watched:
    """Run a command to its end and look at its processes twice a second.

    What a process did after the last look at it is not counted: its last half second at most.
    """
    mark, seen = secrets.token_hex(8), Watched()
    began = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {}), MARK: mark}
    )
    kinds: dict[int, str] = {}
    spent: dict[int, float] = {}
    while process.poll() is None:
        memory: Counter[str] = Counter()
        for number, words in marked(mark).items():
            with contextlib.suppress(OSError, ValueError, IndexError):
                kinds[number] = _kind(words, kinds.get(number))
                memory[kinds[number]] += _bytes(number)
                spent[number] = _spent(number)
        if sum(memory.values()) > seen.all_bytes:
            seen.peak = dict(memory)
        time.sleep(_EVERY)
    seen.code, seen.seconds = process.returncode, time.monotonic() - began
    seen.out = process.stdout.read() if process.stdout else ""
    for number, seconds in spent.items():
        seen.processor[kinds[number]] = seen.processor.get(kinds[number], 0.0) + seconds
    return seen


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
