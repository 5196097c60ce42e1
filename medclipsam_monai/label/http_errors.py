"""The user's mistakes as HTTP errors: one clear line, and never a traceback, whatever route they came by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException

from medclipsam_monai.errors import InputError

BAD_REQUEST, NOT_FOUND, CONFLICT, UNPROCESSABLE = 400, 404, 409, 422


@contextmanager
def http_errors(status: int = UNPROCESSABLE) -> Iterator[None]:
    """Let an `InputError` become an HTTP error of this status with its one line as the detail.

    MONAI Label answers any other exception with 500 and no word of explanation.
    """
    try:
        yield
    except InputError as error:
        raise HTTPException(status, " ".join(str(error).split())) from error
