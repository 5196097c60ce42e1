"""The user's mistakes as one line: over HTTP, and from the processes of trainings and scorings."""

from __future__ import annotations

import pytest
from fastapi import HTTPException
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.label.http_errors import exit_with_line, http_errors, without_folders


def test_a_mistake_becomes_an_http_error_of_one_line():
    with pytest.raises(HTTPException) as raised, http_errors():
        raise InputError("the text is\n  empty")
    assert (raised.value.status_code, raised.value.detail) == (422, "the text is empty")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("/srv/images/chest 1.png: is damaged", "chest 1.png: is damaged"),
        ("no mask at '/srv/a/b.nii.gz' or /mnt/x/c.png", "no mask at 'b.nii.gz' or c.png"),
        ("ask http://127.0.0.1:8000/info/ for 1/2 of it", "ask http://127.0.0.1:8000/info/ for 1/2 of it"),
        ("size 40 x 64, and/or ../labels/a.png", "size 40 x 64, and/or ../labels/a.png"),
    ],
)
def test_a_client_sees_no_folder_of_the_server(line, shown):
    assert without_folders(line) == shown
    with pytest.raises(HTTPException) as raised, http_errors():
        raise InputError(line)
    assert raised.value.detail == shown


def test_other_errors_stay_what_they_are():
    for context in (http_errors(), exit_with_line()):
        with pytest.raises(ZeroDivisionError), context:
            raise ZeroDivisionError


@pytest.mark.parametrize(
    "error",
    [
        InputError("no such\nimage"),
        HTTPException(404, "no such image"),
        MONAILabelException(MONAILabelError.INVALID_INPUT, "no such image"),
    ],
)
def test_a_mistake_ends_a_process_with_its_line(error, capsys):
    with pytest.raises(SystemExit) as stop, exit_with_line():
        raise error
    assert stop.value.code == 2 and capsys.readouterr().out == "medclipsam: no such image\n"
