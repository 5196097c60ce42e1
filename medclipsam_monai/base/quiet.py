"""Keeps libraries quiet while one thread runs one block: what they warn, log and print.

Filters of warnings and of loggers, and file descriptor 2, belong to the whole process. Setting and restoring them block
by block goes wrong as soon as two blocks overlap in two threads: the last one out restores what the first one set. So
this is the only module that touches them. Whatever is put in looks at the thread that it is asked by, is put in by the
first block and taken out by the last, in any order of entering and leaving.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TextIO

_STDERR = 2


@dataclass(frozen=True)
class _Block:
    """What one block silences, in its own thread.

    Attributes:
        loggers: names; those below them count too, and "" is all of them.
        level: records up to this one are dropped.
        dropped: warnings that are dropped.
        kept: of these, those that pass all the same.
        collected: warnings that are put in `messages` instead of being shown.
        messages: of the collected warnings.
    """

    loggers: tuple[str, ...] = ()
    level: int = logging.NOTSET
    dropped: tuple[type[Warning], ...] = ()
    kept: tuple[type[Warning], ...] = ()
    collected: tuple[type[Warning], ...] = ()
    messages: list[str] = field(default_factory=list)

    def drops(self, record: logging.LogRecord) -> bool:
        names = (name for name in self.loggers if not name or f"{record.name}.".startswith(f"{name}."))
        return record.levelno <= self.level and next(names, None) is not None


_blocks: ContextVar[tuple[_Block, ...]] = ContextVar("blocks", default=())
"""The blocks that this thread is in, the innermost last."""


class _IsDropped(type):
    """Of a class that stands in a filter for every warning that this thread drops."""

    def __subclasscheck__(cls, category: type) -> bool:
        return any(issubclass(category, b.dropped) and not issubclass(category, b.kept) for b in _blocks.get())


class _IsCollected(type):
    """Of a class that stands in a filter for every warning that this thread collects."""

    def __subclasscheck__(cls, category: type) -> bool:
        return any(issubclass(category, block.collected) for block in _blocks.get())


_FILTERS = [
    ("ignore", None, _IsDropped("Dropped", (Warning,), {}), None, 0),
    ("always", None, _IsCollected("Collected", (Warning,), {}), None, 0),
]


class _QuietWarnings:
    """Puts our filters before those of the process, and takes them out of every list that they came into."""

    def __init__(self) -> None:
        self._lists: list[tuple[list[Any], list[Any]]] = []
        self._shown: Any = None

    def enter(self, collects: bool) -> None:
        if _FILTERS[0] not in warnings.filters:  # not yet, or another thread has put back a list of its own
            before: Any = warnings.filters
            changed = [*_FILTERS, *before]
            self._lists.append((before, changed))
            warnings.filters = changed  # a new list, as another thread may be going through the old one
        if collects and warnings.showwarning != self._show:
            self._shown, warnings.showwarning = warnings.showwarning, self._show

    def leave(self) -> None:
        for before, changed in reversed(self._lists):
            rest = [one for one in changed if one not in _FILTERS]
            if warnings.filters is changed:
                warnings.filters = before if rest == before else rest
            else:  # somebody may hold it, to put it back later
                changed[:] = rest
        current: Any = warnings.filters
        if _FILTERS[0] in current:  # a copy, made by somebody's catch_warnings
            current[:] = [one for one in current if one not in _FILTERS]
        self._lists.clear()
        if warnings.showwarning == self._show:
            warnings.showwarning = self._shown

    def _show(self, message: Any, category: Any, *where: Any, **more: Any) -> None:
        for block in reversed(_blocks.get()):
            if issubclass(category, block.collected):
                block.messages.append(str(message))
                return
        self._shown(message, category, *where, **more)


class _QuietLoggers(logging.Filter):
    """A filter on loggers and on the handlers to which the loggers below them pass their records."""

    def __init__(self) -> None:
        super().__init__()
        self._places: list[logging.Filterer] = []

    def filter(self, record: logging.LogRecord) -> bool:
        return not any(block.drops(record) for block in _blocks.get())

    def enter(self, names: Iterable[str]) -> None:
        loggers = [logging.getLogger(name) for name in {"", *names}]
        handlers = [handler for logger in loggers for handler in logger.handlers]
        last = [] if logging.lastResort is None else [logging.lastResort]
        for place in (*loggers, *handlers, *last):
            if self not in place.filters:
                place.addFilter(self)
                self._places.append(place)

    def leave(self) -> None:
        for place in self._places:
            place.removeFilter(self)
        self._places.clear()


class _PastSilence(io.TextIOBase):
    """Standard error for Python's own writers, while the descriptor itself is silent."""

    def __init__(self) -> None:
        self.descriptor = _STDERR

    def write(self, text: str) -> int:
        rest = text.encode("utf-8", "backslashreplace")
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.descriptor

    def isatty(self) -> bool:
        return os.isatty(self.descriptor)


class _SilentDescriptor:
    """Points file descriptor 2 at nothing; ``sys.stderr`` still reaches where it went."""

    def __init__(self) -> None:
        self._saved: int | None = None
        self._stream: TextIO | None = None
        self._past: Any = _PastSilence()

    def enter(self) -> None:
        if self._saved is not None:
            return
        with contextlib.suppress(OSError):  # a process without a stderr has nothing to silence
            self._saved = os.dup(_STDERR)
            self._past.descriptor = self._saved
            with contextlib.suppress(OSError, ValueError, AttributeError):  # a test's or a notebook's own stream
                if sys.stderr.fileno() == _STDERR and sys.stderr is not self._past:
                    sys.stderr.flush()
                    self._stream, sys.stderr = sys.stderr, self._past
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, _STDERR)
            os.close(nothing)

    def leave(self) -> None:
        if self._saved is None:
            return
        os.dup2(self._saved, _STDERR)
        self._past.descriptor = _STDERR
        os.close(self._saved)
        if sys.stderr is self._past and self._stream is not None:
            sys.stderr = self._stream
        self._saved = self._stream = None


_lock = threading.Lock()
if hasattr(os, "register_at_fork"):  # a child must not find it held by a thread that it does not have
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
_inside = _silent = 0
_warnings, _loggers, _descriptor = _QuietWarnings(), _QuietLoggers(), _SilentDescriptor()


@contextlib.contextmanager
def _entered(block: _Block) -> Iterator[None]:
    global _inside
    with _lock:
        _inside += 1
        _warnings.enter(collects=bool(block.collected))
        _loggers.enter(block.loggers)
    token = _blocks.set((*_blocks.get(), block))
    try:
        yield
    finally:
        _blocks.reset(token)
        with _lock:
            _inside -= 1
            if _inside == 0:
                _warnings.leave()
                _loggers.leave()


@contextlib.contextmanager
def silenced(
    loggers: Iterable[str] = (),
    level: int = logging.CRITICAL,
    dropped: tuple[type[Warning], ...] = (),
    kept: tuple[type[Warning], ...] = (),
) -> Iterator[None]:
    """A block without the warnings and log records of its own thread; those of other threads go on as they are.

    Args:
        loggers: names of loggers; those below them count too, and "" is all of them.
        level: records up to this one are dropped.
        dropped: kinds of warnings that are dropped.
        kept: of these, kinds that pass all the same, through the filters of the process.
    """
    with _entered(_Block(tuple(loggers), level, dropped, kept)):
        yield


@contextlib.contextmanager
def collected(category: type[Warning]) -> Iterator[list[str]]:
    """A block whose warnings of a kind, given by its own thread, come in a list and are not shown."""
    block = _Block(collected=(category,))
    with _entered(block):
        yield block.messages


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """A block in which nothing that is written to file descriptor 2 itself is seen, as C and C++ libraries do.

    What Python writes to ``sys.stderr``, in any thread, is seen all the same.
    """
    global _silent
    with _lock:
        _silent += 1
        _descriptor.enter()
    try:
        yield
    finally:
        with _lock:
            _silent -= 1
            if _silent == 0:
                _descriptor.leave()
