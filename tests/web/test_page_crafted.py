"""Requests that no page sends: by hand, to a server that is there."""

from __future__ import annotations

import json
import secrets
import time
from http.client import HTTPConnection

import pytest
from web_server import served_page

from medclipsam_monai.phantoms.samples import sample_pictures
from medclipsam_monai.web.entry.attempts import FREE

FIELDS = ["lungs", "", "small", "none", 0.5, 1.0, "one box", 3, False, "automatic", 40, 400, "acquired"]
PRESET, POINTS, CUT = 2, 7, 12


def asked(served, method: str, path: str, body: str = "", kind: str = "application/json") -> tuple[int, str]:
    connection = HTTPConnection(served.url.removeprefix("http://"), timeout=120)
    connection.request(method, path, body, {"Content-Type": kind})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


@pytest.fixture(scope="module")
def events(served):
    """The numbers of a page's events, by the part's id and the event."""
    page = json.loads(asked(served, "GET", "/config")[1])
    ids = {one["id"]: one["props"].get("elem_id") for one in page["components"]}
    return {
        f"{ids.get(part)}.{event}": one["id"]
        for one in page["dependencies"]
        for part, event in map(tuple, one["targets"])
    }


def told(served, event: int, data: list, visitor: str = "") -> str:
    """What comes of a message; its status and line where it is refused at once."""
    visitor = visitor or secrets.token_hex(6)
    message = json.dumps({"fn_index": event, "data": data, "session_hash": visitor})
    status, text = asked(served, "POST", "/gradio_api/queue/join", message)
    return asked(served, "GET", f"/gradio_api/queue/data?session_hash={visitor}")[1] if status == 200 else text


@pytest.mark.parametrize(
    ("place", "value", "line"),
    [
        (PRESET, "nothing", "preset must be one of small, demo, got"),
        (PRESET, ["small"], "load it anew"),
        (POINTS, 10**9, "from 0 to 1,000"),
        (CUT, "askew", "the cut must be one of acquired"),
        (0, "x" * 100_000, "a text may have 2,000 letters"),
    ],
)
def test_a_value_that_its_field_has_not_is_one_line(served, events, capfd, place, value, line):
    visitor = secrets.token_hex(6)
    told(served, events["sample-xray.click"], FIELDS, visitor)
    data = [*FIELDS[:place], value, *FIELDS[place + 1 :]]
    assert line in told(served, events["segment.click"], data, visitor)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("path", ["/dev/zero", str(sample_pictures()["xray_normal"]), "http://127.0.0.1:9/a.png"])
def test_no_file_of_the_server_and_no_address_is_opened(served, events, path):
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    for data in ([[file], *FIELDS], [None, file, *FIELDS[1:]]):
        assert told(served, events["files.upload"], data) == "the message names a file that was not sent\n"


def test_a_message_with_other_values_than_its_event_has_is_refused_at_once(served, events, capfd):
    for event, data in ((events["segment.click"], FIELDS[:-1]), (events["segment.click"], []), (10**6, FIELDS)):
        assert told(served, event, data) == "the message is none of this page's\n"
    assert "Traceback" not in capfd.readouterr().err


def test_nothing_of_a_visitor_is_in_what_another_one_gets(served, events):
    text = f"word{secrets.token_hex(8)}"
    assert text in told(served, events["sample-xray.click"], FIELDS, "one") + told(
        served, events["segment.click"], [text, *FIELDS[1:]], "one"
    )
    for address in ("/", "/config"):
        assert text not in asked(served, "GET", address)[1]
    assert text not in told(served, events["segment.click"], FIELDS, "two")


def test_a_wrong_password_costs_time_and_the_right_one_opens(capfd):
    with served_page("a good password") as guarded:

        def tried(password: str) -> tuple[int, float]:
            start = time.monotonic()
            form = f"username=me&password={password}"
            status, _ = asked(guarded, "POST", "/login", form, "application/x-www-form-urlencoded")
            return status, time.monotonic() - start

        wrong = [tried("wrong+password") for _ in range(FREE + 2)]
        assert {status for status, _ in wrong} == {400} and wrong[-1][1] > 0.99  # timers may be a thousandth early
        assert tried("a+good+password")[0] == 200
        assert asked(guarded, "POST", "/gradio_api/queue/join", "{}")[0] == 401
