"""Turns whatever an image library raises or prints into one line for the user.

Pillow, nibabel, pydicom and GDCM each have their own exceptions, loggers and messages on stderr for a damaged file.
Reading happens inside ``reading(...)``: the first thing that goes wrong becomes one ``InputError`` with the file's
name, and what the libraries print besides is dropped.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from medclipsam_monai.errors import InputError

_LOGGERS = ("pydicom", "nibabel.global", "tifffile", "PIL", "PIL.TiffImagePlugin", "PIL.PngImagePlugin")
_STDERR = 2


class _SilentStderr:
    """Points file descriptor 2 at nothing while at least one thread is inside; the last one out puts it back.

    GDCM, libtiff and libjpeg write to the descriptor itself, past ``sys.stderr``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._saved: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                with contextlib.suppress(OSError):  # a process without a stderr has nothing to silence
                    self._saved = os.dup(_STDERR)
                    nothing = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(nothing, _STDERR)
                    os.close(nothing)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._saved is not None:
                os.dup2(self._saved, _STDERR)
                os.close(self._saved)
                self._saved = None


_silent_stderr = _SilentStderr()


class InputWarning(UserWarning):
    """Something about an input that the user should know; it is used all the same."""


@contextlib.contextmanager
def _silent_loggers() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def reason(error: BaseException) -> str:
    """The last line of a library's message, without addresses and source positions, at most 160 characters."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    return re.sub(r"^(ITK ERROR:\s*)?(\w+\(0x[0-9a-f]+\):\s*)?", "", text)[:160].rstrip(" .")


@contextlib.contextmanager
def one_line(path: str | Path, what: str) -> Iterator[None]:
    """Turns any exception of a reader into one line that names the file.

    Args:
        path: the file, as the user gave it.
        what: what the file was taken for, such as "a DICOM file".

    Raises:
        InputError: anything went wrong inside.
    """
    try:
        yield
    except InputError:
        raise
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise InputError(f"{path}: cannot be opened: {reason(error)}") from error
    except MemoryError as error:
        raise InputError(f"{path}: too large for this machine's memory") from error
    except Exception as error:  # the libraries raise nearly every built-in exception on damaged files
        raise InputError(
            f"{path}: cannot be read as {what}, it may be damaged or cut short ({reason(error)})"
        ) from error


@contextlib.contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """``one_line``, and besides drops what the libraries warn, log and print."""
    with one_line(path, what), warnings.catch_warnings(), _silent_loggers(), _silent_stderr:
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def only_our_warnings() -> Iterator[None]:
    """Drops what the libraries warn and log, and passes ``InputWarning`` on at the end.

    pydicom looks at a header's values only when they are asked for, long after the file was read.
    """
    with warnings.catch_warnings(record=True) as caught, _silent_loggers():
        warnings.simplefilter("always")
        yield
    for warning in caught:
        if issubclass(warning.category, InputWarning):
            warnings.warn(str(warning.message), InputWarning, stacklevel=4)
