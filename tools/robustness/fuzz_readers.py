"""A process that reads damaged files one after another, and may end or hang without harm."""

from __future__ import annotations

import multiprocessing
import os
import resource
import warnings
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

import itk

from tools.robustness.fuzz_checks import judge

_LOADED = itk.ImageFileWriter, itk.GDCMImageIO  # which takes seconds: not in the time that a file may take
FORK = multiprocessing.get_context("fork")
"""What this process has imported, the readers have."""


def _serve(questions: Connection, memory: int) -> None:
    """Judge one path after another; what libraries print and warn is dropped."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    warnings.simplefilter("ignore")
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + memory, held + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            path = questions.recv()
        except EOFError:
            os._exit(0)
        questions.send(judge(path))


class Readers:
    """A process that judges files, started again when a file ends it.

    Args:
        seconds: for one file.
        memory: bytes of address space beyond what the process starts with.
    """

    def __init__(self, seconds: float = 10, memory: int = 6 * 2**30) -> None:
        self.seconds, self.memory = seconds, memory
        self._process: ForkProcess | None = None

    def judge(self, path: Path) -> tuple[str, str]:
        """Outcome of one file and a line about it."""
        if self._process is None:
            self._pipe, other = FORK.Pipe()
            self._process = FORK.Process(target=_serve, args=(other, self.memory), daemon=True)
            self._process.start()
            other.close()
        try:
            self._pipe.send(path)
            if self._pipe.poll(self.seconds):
                return self._pipe.recv()
            self.close()
            return "time-out", f"more than {self.seconds:g} s"
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode
            self.close()
            return "crash", f"ended by signal {-code}" if code and code < 0 else f"exit code {code}"

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None
