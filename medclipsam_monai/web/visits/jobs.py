"""Work for visitors: each in a thread of its own, the networks for one at a time, in turns from step to step.

A long volume says how far it is after each slice, and there lets those go first who wait for an answer to a picture.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from medclipsam_monai.zero_shot.volumes.progress import Tell

_LOOK = 0.05  # seconds between two looks at whether a waiting job was cancelled


class Cancelled(Exception):
    """Ends a job that nobody wants any more."""


class Turns:
    """Lets one job at a time go on, in the order in which they came."""

    def __init__(self) -> None:
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    def take(self, who: object, cancelled: threading.Event) -> None:
        """Wait for the turn.

        Raises:
            Cancelled: it is not wanted any more.
        """
        with self._changed:
            self._queue.append(who)
            while self._queue[0] is not who:
                self._changed.wait(_LOOK)
                if cancelled.is_set():
                    self._queue.remove(who)
                    raise Cancelled

    def give(self) -> None:
        """Let the next one go on."""
        with self._changed:
            self._queue.popleft()
            self._changed.notify_all()

    def has(self, who: object) -> bool:
        """Whether it is somebody's turn."""
        with self._changed:
            return bool(self._queue) and self._queue[0] is who

    def waiting(self, who: object) -> int:
        """How many come before a job."""
        with self._changed:
            return self._queue.index(who) if who in self._queue else 0

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for the one who goes on."""
        with self._changed:
            return len(self._queue) > 1


class Job:
    """A function that is called in a thread of its own when it is its turn.

    Args:
        work: is called with what is to be told how far it is, which ends it where the job was cancelled.
        turns: of all jobs of the server.
        before: is called before it is its turn, for what needs no networks.

    Attributes:
        progress: what is done, and how many of how many steps are; None before the first.
    """

    def __init__(self, work: Callable[[Tell], Any], turns: Turns, before: Callable[[], object] = lambda: None) -> None:
        self._work, self._turns, self._before = work, turns, before
        self._cancelled, self._ended = threading.Event(), threading.Event()
        self._outcome: Any = None
        self._error: BaseException | None = None
        self.progress: tuple[str, int, int] | None = None
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._run,), daemon=True).start()

    def cancel(self) -> None:
        """End it at its next step; what it finds is dropped."""
        self._cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    @property
    def is_running(self) -> bool:
        return not self._ended.is_set()

    @property
    def before(self) -> int:
        """How many jobs have to end, or to give their turn away, before this one goes on."""
        return self._turns.waiting(self)

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it ended within so many seconds."""
        return self._ended.wait(seconds)

    def outcome(self) -> Any:
        """What the function returned, when it has ended.

        Raises:
            Cancelled: it was cancelled.
            BaseException: what the function raised.
        """
        if self._error is not None:
            raise self._error
        return self._outcome

    def _tell(self, doing: str, done: int, total: int) -> None:
        if self.is_cancelled:
            raise Cancelled
        self.progress = (doing, done, total)
        if self._turns.is_busy:
            self._turns.give()
            self._turns.take(self, self._cancelled)

    def _run(self) -> None:
        try:
            self._before()
            self._turns.take(self, self._cancelled)
            try:
                self._outcome = self._work(self._tell)
                if self.is_cancelled:
                    raise Cancelled
            finally:
                if self._turns.has(self):  # one that was cancelled while it waited in between has none to give
                    self._turns.give()
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()
