"""Turns whatever an image library raises or prints into one line for the user.

Pillow, nibabel, pydicom and GDCM each have their own exceptions, loggers and messages on stderr for a damaged file.
Reading happens inside ``reading(...)``: the first thing that goes wrong becomes one ``InputError`` with the file's
name, and what the libraries print besides is dropped.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.base.quiet import silenced, silent_stderr

_LOGGERS = ("pydicom", "highdicom", "nibabel", "PIL", "tifffile", "imagecodecs")
_QUOTING_NOTHING = ("EOFError", "InvalidDicomError")  # of pydicom's own words; other errors hold the value at fault
_AGAINST_RULES = "a value in it is not of the form that DICOM requires"


def reason(error: BaseException) -> str:
    """The last line of a library's message, without addresses and source positions, at most 160 characters."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    return re.sub(r"^(ITK ERROR:\s*)?(\w+\(0x[0-9a-f]+\):\s*)?", "", text)[:160].rstrip(" .")


def _reason(error: BaseException, what: str) -> str:
    """`reason`; of DICOM without what a header holds, which may name the patient."""
    if "DICOM" not in what or isinstance(error, OSError) or type(error).__name__ in _QUOTING_NOTHING:
        return reason(error)
    return _AGAINST_RULES if isinstance(error, ValueError | TypeError | LookupError) else type(error).__name__


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
    except (InputError, InputWarning):  # the latter where the user has made errors of warnings
        raise
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise InputError(f"{path}: cannot be opened: {reason(error)}") from error
    except MemoryError as error:
        raise InputError(f"{path}: too large for this machine's memory") from error
    except Exception as error:  # the libraries raise nearly every built-in exception on damaged files
        raise InputError(
            f"{path}: cannot be read as {what}, it may be damaged or cut short ({_reason(error, what)})"
        ) from error


@contextlib.contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """``one_line``, and besides drops what the libraries warn, log and print."""
    with one_line(path, what), only_our_warnings(), silent_stderr():
        yield


@contextlib.contextmanager
def only_our_warnings() -> Iterator[None]:
    """A block that drops what the libraries warn and log, and lets ``InputWarning`` pass.

    pydicom looks at a header's values only when they are asked for, long after the file was read.
    """
    with silenced(_LOGGERS, dropped=(Warning,), kept=(InputWarning,)):
        yield
