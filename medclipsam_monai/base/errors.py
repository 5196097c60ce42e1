"""The one exception that stands for a mistake the user can mend."""

from __future__ import annotations

import sys
from types import TracebackType

_NO_MEMORY = "can't allocate memory"  # torch's words where the CPU has no more
_BUNDLE_PROGRAMS = ("monai.bundle.__main__", "monailabel.interfaces.utils.app")
_MOST_LETTERS = 200  # of an unexpected error's message


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line that says what was wrong and what would be right. The command line prints it alone and
    exits with code 2; any other exception there is a bug.
    """


class InputWarning(UserWarning):
    """Something about an input that the user should know; it is used all the same."""


def plain_reason(error: Exception) -> str:
    """What went wrong, in one line for the user; of an unexpected error its kind too, for a report."""
    if isinstance(error, InputError):
        return _words(error)
    if isinstance(error, OSError):
        return error.strerror or _words(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _NO_MEMORY in str(error):
        return "too large for this machine's memory"
    words = _words(error)
    said = f"{type(error).__name__}: {words[:_MOST_LETTERS]}" if words else type(error).__name__
    return f"internal error {said}; --debug shows where"


def _words(error: BaseException) -> str:
    return printable(" ".join(str(error).split()))


def printable(text: str) -> str:
    """A text for a terminal: what would steer it, as a file's name may, is written as an escape."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def plain_input_errors() -> None:
    """Let an `InputError` end a program that runs a bundle with its one line and exit code 2.

    These are ``python -m monai.bundle`` and the process in which MONAI Label trains one. They catch nothing, and MONAI
    wraps what a component raises, so the line would be lost under a traceback. The configurations call this first; in
    any other program (a server that loads a bundle, a test) it changes nothing.
    """
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name in _BUNDLE_PROGRAMS:
        sys.excepthook = _one_line


def _one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, InputError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        sys.__excepthook__(kind, error, trace)
        return
    print(f"medclipsam: {_words(cause)}", file=sys.stderr)
    raise SystemExit(2)
