"""Work in a thread of its own, one at a time, that says how far it is and can be cancelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from napari.qt.threading import thread_worker
from qtpy.QtCore import QObject, Signal

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.zero_shot.volumes.progress import Tell


class _Cancelled(Exception):
    """Ends the work."""


class Work(QObject):
    """Runs one function after the other in a thread; signals arrive in the thread of the window.

    Attributes:
        told: what is done, and how many of how many steps are.
        done: what the function returned.
        failed: one line.
        warned: one line.
        ended: whatever came of it; True where it was cancelled.
    """

    told = Signal(str, int, int)
    done = Signal(object)
    failed = Signal(str)
    warned = Signal(str)
    ended = Signal(bool)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._worker: Any = None

    @property
    def running(self) -> bool:
        return self._worker is not None

    def start(self, function: Callable[[Tell], Any]) -> None:
        """Call a function with what is to be told how far it is.

        Raises:
            RuntimeError: something is running.
        """
        if self.running:
            raise RuntimeError("one thing at a time")
        self._worker = worker = thread_worker(_caught, start_thread=False)(function, self._tell)
        worker.returned.connect(self._returned)
        worker.warned.connect(self._warned)
        worker.finished.connect(self._finished)
        worker.start()

    def cancel(self) -> None:
        """End it at its next step; what it finds is dropped."""
        if self._worker is not None:
            self._worker.quit()

    def _tell(self, doing: str, done: int, total: int) -> None:
        worker = self._worker
        if worker is None or worker.abort_requested:
            raise _Cancelled
        self.told.emit(doing, done, total)

    def _returned(self, outcome: tuple[Any, Exception | None]) -> None:
        found, error = outcome
        if error is None:
            self.done.emit(found)
        elif isinstance(error, InputError):
            self.failed.emit(str(error))
        elif isinstance(error, MemoryError | torch.OutOfMemoryError):
            self.failed.emit("there is not enough memory on this device; crop the image, or take another device")
        else:
            self.failed.emit(f"an internal error: {type(error).__name__}: {error}")

    def _warned(self, warning: tuple[Any, ...]) -> None:
        if isinstance(warning[0], InputWarning):
            self.warned.emit(str(warning[0]))

    def _finished(self) -> None:
        worker, self._worker = self._worker, None
        self.ended.emit(bool(worker.abort_requested))


def _caught(function: Callable[[Tell], Any], tell: Tell) -> tuple[Any, Exception | None]:
    """What a function returns or raises: napari's workers drop a RuntimeError, such as torch's are, without a word."""
    try:
        return function(tell), None
    except _Cancelled:
        return None, None
    except Exception as error:
        return None, error
