"""The user's mistakes as HTTP errors: one clear line, and never a traceback, whatever route they came by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from fastapi import HTTPException
from monailabel.interfaces.exception import MONAILabelException

from medclipsam_monai.errors import InputError

NOT_FOUND, CONFLICT, UNPROCESSABLE = 404, 409, 422


@contextmanager
def http_errors(status: int = UNPROCESSABLE) -> Iterator[None]:
    """Let an `InputError` become an HTTP error of this status with its one line as the detail.

    MONAI Label answers any other exception with 500 and no word of explanation.
    """
    try:
        yield
    except InputError as error:
        raise HTTPException(status, " ".join(str(error).split())) from error


@contextmanager
def exit_with_line() -> Iterator[None]:
    """Let a mistake of the user end this process with its one line and exit code 2.

    For the processes of trainings and scorings: what they print last is what a client is shown.
    """
    try:
        yield
    except InputError as error:
        _exit(str(error))
    except HTTPException as error:
        _exit(str(error.detail))
    except MONAILabelException as error:
        _exit(error.msg)


def _exit(line: str) -> NoReturn:
    print(f"medclipsam: {' '.join(line.split())}", flush=True)
    raise SystemExit(2)
