"""Ctrl-C: one line on the screen and exit code 130, wherever in a command it comes.

While there is nothing to tidy up (imports, loading of weights) the process ends at once: a KeyboardInterrupt inside a
library's start-up is often swallowed or turned into another error. Inside `tidying` it is raised, so that temporary
files and locks are removed. A second Ctrl-C always ends the process.

A process that is killed can tidy up nothing; one that it has started to work for it ends by itself, see
`end_with_parent`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

EXIT_CODE = 130
_LINE = "medclipsam: interrupted; run it again to go on\n"
_CLEAN_SCREEN = "\r\x1b[2K\x1b[?25h"  # a spinner or a bar has begun the line, and hides the cursor

_lock = threading.Lock()
_things_to_tidy = 0
_interrupted = False


@contextlib.contextmanager
def tidying() -> Iterator[None]:
    """Something is in hand that must be tidied up: until the end Ctrl-C raises KeyboardInterrupt."""
    global _things_to_tidy
    with _lock:
        _things_to_tidy += 1
    try:
        yield
    finally:
        with _lock:
            _things_to_tidy -= 1


def stop_if_interrupted() -> None:
    """Raise KeyboardInterrupt again, where a library turned one into an error of its own."""
    if _interrupted:
        raise KeyboardInterrupt


@contextlib.contextmanager
def one_line_on_interrupt() -> Iterator[None]:
    """Handle Ctrl-C as this module says; where it is ignored (a background job) it stays so.

    Raises:
        SystemExit: with 130, whatever an interrupt was turned into on its way.
    """
    global _interrupted
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    _interrupted = False
    # reading a damaged file points descriptor 2 elsewhere for a moment; this one stays
    screen = os.dup(2)

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        global _interrupted
        if not _interrupted:
            with contextlib.suppress(OSError):
                os.write(screen, ((_CLEAN_SCREEN if os.isatty(screen) else "") + _LINE).encode())
        if _interrupted or not _things_to_tidy:
            with contextlib.suppress(Exception):  # not where it was being flushed
                sys.stdout.flush()
            os._exit(EXIT_CODE)
        _interrupted = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    except BaseException:
        if _interrupted:
            raise SystemExit(EXIT_CODE) from None
        raise
    finally:
        _interrupted = False
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.close(screen)


def end_with_parent() -> None:
    """End this process and its workers as soon as the one that has started it, and waits for it, is no more.

    What went on would write among the files of whoever comes next. Our standard input must be a pipe that the other
    process never writes to: the system closes it when that one dies, however it is killed.
    """

    def watch() -> None:
        os.read(0, 1)
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
