"""What reading a file prints, logs and warns besides its own answer: nothing of that should reach a user."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator

from medclipsam_monai.base.errors import InputWarning

_STREAMS = (1, 2)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).fflush(None)  # what C libraries hold back


@contextlib.contextmanager
def listening() -> Iterator[list[str]]:
    """A block whose noise is afterwards in a list: lines on standard output and error, and warnings.

    An `InputWarning` of one line is no noise: it is how a reader tells what a person should know.
    """
    noise: list[str] = []
    with tempfile.TemporaryFile() as file, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _flush()
        saved = [os.dup(stream) for stream in _STREAMS]
        for stream in _STREAMS:
            os.dup2(file.fileno(), stream)
        try:
            yield noise
        finally:
            _flush()
            for stream, place in zip(_STREAMS, saved, strict=True):
                os.dup2(place, stream)
                os.close(place)
            file.seek(0)
            noise += file.read().decode(errors="replace").splitlines()
            for one in caught:
                if not issubclass(one.category, InputWarning) or "\n" in str(one.message):
                    noise.append(f"{one.category.__name__}: {one.message}")
