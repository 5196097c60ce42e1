"""The user's mistakes as HTTP errors: one clear line, no traceback and no folder of the server, by whatever route."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NoReturn

import requests
from fastapi import HTTPException
from monailabel.interfaces.exception import MONAILabelException

from medclipsam_monai.base.errors import InputError

NOT_FOUND, CONFLICT, UNPROCESSABLE, NO_ANSWER = 404, 409, 422, 502
_FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^\s/:'\"]+/)+")


def without_folders(line: str) -> str:
    """A line for a client: of absolute paths only the file's name, for where a server keeps its files is its own."""
    return _FOLDERS.sub("", " ".join(line.split()))


def check_forms() -> None:
    """Let MONAI Label's routes answer 422 to a form field that is no JSON object; their own answer is 500."""
    from monailabel.endpoints import datastore, infer

    infer.json = datastore.json = SimpleNamespace(loads=form_object, dumps=json.dumps)


def form_object(text: str) -> dict[str, Any]:
    """The JSON object of a form field.

    Raises:
        HTTPException: 422 for anything else.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HTTPException(UNPROCESSABLE, f"a form field must hold JSON: {error}") from error
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise HTTPException(
            UNPROCESSABLE, f'a form field must hold a JSON object such as {{"text": "lungs"}}, got a {kind}'
        )
    return value


@contextmanager
def http_errors(status: int = UNPROCESSABLE) -> Iterator[None]:
    """Let an `InputError` become an HTTP error of this status with its one line as the detail.

    So does an archive that does not answer, with status 502. MONAI Label answers any other exception with 500 and no
    word of explanation.
    """
    try:
        yield
    except InputError as error:
        raise HTTPException(status, without_folders(str(error))) from error
    except requests.RequestException as error:
        line = f"the DICOMweb archive does not answer as it should ({type(error).__name__})"
        raise HTTPException(NO_ANSWER, line) from error


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
    print(f"medclipsam: {without_folders(line)}", flush=True)
    raise SystemExit(2)
