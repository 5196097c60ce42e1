"""A process that reads damaged files one after another, and may end or hang without harm."""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import os
import re
import resource
import sys
import tempfile
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import IO

import itk

from tools.robustness.fuzz_checks import judge

_LOADED = itk.ImageFileWriter, itk.GDCMImageIO  # which takes seconds: not in the time that a file may take
FORK = multiprocessing.get_context("fork")
"""What this process has imported, the readers have."""


def _serve(questions: Connection, memory: int, faults: IO[bytes]) -> None:
    """Judge one path after another; what a fault handler has to say goes to a file."""
    _be_alone()
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + memory, held + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable(faults, all_threads=False)
    while True:
        try:
            path, seconds = questions.recv()
        except EOFError:
            os._exit(0)
        faulthandler.dump_traceback_later(seconds, file=faults)
        Path("/proc/self/clear_refs").write_text("5")  # the peak of memory is that of this file
        before = _memory("VmRSS")
        outcome, line = judge(path)
        faulthandler.cancel_dump_traceback_later()
        questions.send((outcome, line, _memory("VmHWM") - before))


def _be_alone() -> None:
    """Take no part in the output and the logging of the process that was forked."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1, closefd=False) for stream in (1, 2))
    logging.getLogger().handlers.clear()


def _memory(name: str) -> int:
    """Bytes, by the name that the kernel has for them."""
    found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


class Readers:
    """A process that judges files, started again when a file ends it.

    Args:
        seconds: for one file.
        memory: bytes of address space beyond what the process starts with.

    Attributes:
        taken: bytes of memory that the last file took at most.
    """

    def __init__(self, seconds: float = 10, memory: int = 2 * 2**30) -> None:
        self.seconds, self.memory, self.taken = seconds, memory, 0
        self._process: ForkProcess | None = None

    def judge(self, path: Path) -> tuple[str, str]:
        """Outcome of one file and a line about it."""
        self.taken = 0
        if self._process is None:
            self._pipe, other = FORK.Pipe()
            self._faults = tempfile.TemporaryFile()  # noqa: SIM115, it lives as long as the process
            self._process = FORK.Process(target=_serve, args=(other, self.memory, self._faults), daemon=True)
            self._process.start()
            other.close()
        try:
            self._pipe.send((path, self.seconds))
            if self._pipe.poll(self.seconds + 1):
                outcome, line, self.taken = self._pipe.recv()
                return outcome, line
            return "time-out", f"more than {self.seconds:g} s{self._end()}"
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode
            ended = f"ended by signal {-code}" if code and code < 0 else f"exit code {code}"
            return "crash", f"{ended}{self._end()}"

    def _end(self) -> str:
        """End the process; where it was by the fault handler, if that had something to say."""
        self._faults.seek(0)
        frames = re.findall(r'File "(.+?)", line (\d+) in (\S+)', self._faults.read().decode(errors="replace"))
        self.close()
        return "".join(f" ({Path(file).name}, line {line}, {where})" for file, line, where in frames[:1])

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._faults.close()
            self._process = None
