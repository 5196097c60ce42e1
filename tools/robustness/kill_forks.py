"""Work in a fork of this process, which is killed where asked: at a change that it makes in a folder, or after one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_FORK = multiprocessing.get_context("fork")
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.link", "os.symlink")
_SECONDS = 300  # for one fork; a lock that nobody gives back ends here


@dataclass(frozen=True)
class Kill:
    """When a fork is killed: at its ``change``-th change in the folder, or ``after`` it, in seconds."""

    change: int
    after: float | None = None


@dataclass(frozen=True)
class Ending:
    """How a fork ended.

    Attributes:
        ended: it came to its end.
        changes: how many times it opened a file for writing, renamed or removed one in the folder.
        answer: what its work returned.
        trouble: the last line of an exception, or why there is no answer but for the kill that was asked for.
    """

    ended: bool
    changes: int = 0
    answer: Any = None
    trouble: str = ""


class Fork:
    """Work that was started in a process of its own.

    Args:
        work: what it does; its answer is sent back.
        folder: whose changes are counted.
        kill: when it is killed.
    """

    def __init__(self, work: Callable[[], Any], folder: Path, kill: Kill | None = None) -> None:
        self._kill = kill
        self._pipe, theirs = _FORK.Pipe()
        self.process = _FORK.Process(target=_work, args=(theirs, work, folder, kill))
        self.process.start()
        theirs.close()

    def finish(self) -> Ending:
        """Wait for its end, and kill it when it is time."""
        answer: Ending | None = None
        try:
            while answer is None:
                if not self._pipe.poll(_SECONDS):
                    self.process.kill()
                    answer = Ending(False, trouble=f"it was not finished after {_SECONDS} s")
                    break
                message = self._pipe.recv()
                if isinstance(message, Ending):
                    answer = message
                else:
                    time.sleep((self._kill and self._kill.after) or 0)
                    self.process.kill()
        except (EOFError, ConnectionError):
            answer = Ending(False)
        self.process.join()
        if answer == Ending(False) and self.process.exitcode != -signal.SIGKILL:
            return Ending(False, trouble=f"it ended with code {self.process.exitcode}")
        return answer or Ending(False)


def watch(folder: Path, seen: Callable[[str], None]) -> None:
    """Tell of each change that this process is about to make in a folder, by the name of its audit event.

    What ``seen`` raises, the change fails with.
    """
    inside = f"{folder}{os.sep}"

    def look(event: str, values: tuple[Any, ...]) -> None:
        if event == "open":
            _, mode, flags = values
            writes = any(letter in (mode or "") for letter in "wax+") or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))
        else:
            writes = event in _CHANGES
        if writes and isinstance(values[0], str | os.PathLike) and str(values[0]).startswith(inside):
            seen(event)

    sys.addaudithook(look)


def _watch_changes(folder: Path, pipe: Connection, kill: Kill | None) -> list[int]:
    """Count this process's changes in a folder, and end it at one of them; the count is the list's only element."""
    count = [0]

    def seen(event: str) -> None:
        count[0] += 1
        if kill and count[0] == kill.change:
            if kill.after is None:
                os.kill(os.getpid(), signal.SIGKILL)
            pipe.send("now")

    watch(folder, seen)
    return count


def _work(pipe: Connection, work: Callable[[], Any], folder: Path, kill: Kill | None) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    changes = _watch_changes(folder, pipe, kill)
    try:
        answer = work()
    except BaseException:
        pipe.send(Ending(True, changes[0], trouble=traceback.format_exc().strip().splitlines()[-1]))
        os._exit(1)
    pipe.send(Ending(True, changes[0], answer))
    os._exit(0)
