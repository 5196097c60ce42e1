"""What stands before the page: names, sizes, messages and other pages; passwords; the command line."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.web.entry.attempts import FORGOTTEN, FREE, LONGEST_PAUSE, Attempts
from medclipsam_monai.web.entry.guard import Guard
from medclipsam_monai.web.entry.hosts import is_loopback
from medclipsam_monai.web.entry.messages import MOST_BYTES, check_message
from medclipsam_monai.web.entry.password import find_password, same_password
from medclipsam_monai.web.uploads.arrivals import Arrivals

UPLOAD, JOIN = "/gradio_api/upload", "/gradio_api/queue/join"
EVENTS = {4: 3}  # the page's only one, with so many values


@pytest.fixture
def arrivals(tmp_path):
    return Arrivals(tmp_path / "sent")


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("[::1]", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.2", False), ("example.org", False), ("127.0.0.1.example.org", False), ("", False)],
)  # fmt: skip
def test_what_only_this_machine_reaches(host, local):
    assert is_loopback(host) is local


def asked(arrivals, local_only: bool = True, body: bytes = b"", path: str = "/", error=None, **headers: str) -> int:
    """The status of a request to a guarded page that reads all that is sent, and takes uploads of 5000 bytes."""
    statuses = []

    async def page(scope, receive, send):
        if error is not None:
            raise error
        message = await receive()
        while message["type"] == "http.request" and message.get("more_body"):
            message = await receive()
        status = 200 if message["type"] == "http.request" else 400
        await send({"type": "http.response.start", "status": status, "headers": []})

    parts = [body[at : at + 1000] for at in range(0, len(body), 1000)] or [b""]

    async def receive():
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.append(message["status"])
            assert message["status"] != 200 or b"content-security-policy" in dict(message["headers"])

    scope = {"type": "http", "path": path, "headers": [(n.encode(), v.encode()) for n, v in headers.items()]}
    guard = Guard(page, local_only, 5000 - 2**20, arrivals, EVENTS)
    with ThreadPoolExecutor(1) as thread:  # Playwright's loop runs in this one
        thread.submit(asyncio.run, guard(scope, receive, send)).result()
    return statuses[0] if statuses else 0


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (200, {"host": "127.0.0.1:7860"}),
        (200, {"host": "localhost"}),
        (200, {"host": "[::1]:7860"}),
        (403, {"host": "evil.example:7860"}),
        (403, {"host": "127.0.0.1@evil.example"}),
        (403, {}),
        (200, {"host": "evil.example", "local_only": False}),
        (200, {"host": "localhost:1", "origin": "http://localhost:1"}),
        (403, {"host": "localhost:1", "origin": "http://localhost:2"}),
        (403, {"host": "localhost:1", "origin": "null"}),
        (413, {"host": "localhost", "content-length": "5001", "path": UPLOAD}),
        (413, {"host": "localhost", "content-length": str(MOST_BYTES + 1)}),
        (413, {"host": "localhost", "content-length": "-1"}),
        (413, {"host": "localhost", "content-length": "9" * 5000}),
        (403, {"host": "[::1"}),
        (403, {"host": "localhost", "origin": "http://["}),
        (200, {"host": "localhost", "body": bytes(5000), "path": UPLOAD}),
        (400, {"host": "localhost", "body": bytes(5001), "path": UPLOAD}),
        (200, {"host": "localhost", "body": b'{"fn_index": 4, "data": ["lungs", null, 1]}', "path": JOIN}),
        (400, {"host": "localhost", "body": b'{"fn_index": 4, "data": ["lungs", null]}', "path": JOIN}),
        (400, {"host": "localhost", "body": b'{"data": [{"path": "/etc/passwd"}]}', "path": JOIN}),
        (404, {"host": "localhost", "body": b'{"data": [{"path": "/etc/passwd"}]}', "path": f"{JOIN}\n"}),
        (404, {"host": "localhost", "path": "/gradio_api/file=/etc/passwd"}),
        (404, {"host": "localhost", "path": "/docs"}),
        (404, {"host": "localhost", "path": "/gradio_api/dev/reload"}),  # a stream without an end
    ],
)
def test_the_guard(arrivals, status, request_):
    assert asked(arrivals, **request_) == status


def test_an_upload_that_the_disk_has_no_room_for_is_refused_and_others_count(arrivals, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Disk", (), {"total": 100_000, "free": 12_000}))
    request = {"host": "localhost", "path": UPLOAD, "body": bytes(3000), "content-length": "3000"}
    assert asked(arrivals, **request) == 200
    with arrivals.one(5000):
        assert asked(arrivals, **request) == 507
    assert asked(arrivals, **request) == 200


def test_what_goes_wrong_in_the_page_is_a_line_of_the_log_without_what_was_sent(arrivals, caplog):
    with caplog.at_level(logging.ERROR):
        asked(arrivals, host="localhost", error=RuntimeError("the patient's name"))
    assert caplog.messages == ["a request was not answered: RuntimeError"] and caplog.records[0].exc_info is None


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ([[{"path": "{sent}/ab/a.png", "meta": {}}], "lungs", 1.5], None),
        ([{"path": "/etc/passwd"}, 1, 2], "a file that was not sent"),
        ([{"deep": [{"path": "http://example.org/a.png"}]}, 1, 2], "a file that was not sent"),
        ([{"path": "{sent}/../other/a.png"}, 1, 2], "a file that was not sent"),
        ([{"path": "{sent}"}, 1, 2], "a file that was not sent"),
        ([{"path": 7}, 1, 2], "a file that was not sent"),
        ([{"path": "{sent}/a.png", "meta": 7}, 1, 2], "none of this page's"),
        ([1, 2], "none of this page's"),
        (7, "none of this page's"),
        ('{"data": [1, 2, 3]}', "none of this page's"),
        ('{"fn_index": 5, "data": [1, 2, 3]}', "none of this page's"),
        ('{"fn_index": "4", "data": [1, 2, 3]}', "none of this page's"),
        ("[1]", "object"),
        ("[" * 5000, "JSON|nested"),
    ],
)
def test_a_message_is_of_an_event_and_names_nothing_but_what_was_sent(arrivals, data, line):
    message = data if isinstance(data, str) else json.dumps({"fn_index": 4, "data": data})
    body = message.replace("{sent}", str(arrivals.folder))
    if line is None:
        check_message(body.encode(), arrivals, EVENTS)
    else:
        with pytest.raises(InputError, match=line):
            check_message(body.encode(), arrivals, EVENTS)
    with pytest.raises(InputError, match="not UTF-8"):
        check_message(body.encode("utf-16"), arrivals, EVENTS)


def test_who_gives_wrong_passwords_waits_the_longer(monkeypatch):
    clock = [0.0]
    attempts = Attempts(lambda: clock[0])
    assert [attempts.take("10.0.0.1") for _ in range(FREE + 4)] == [0.0] * (FREE + 1) + [1.0, 3.0, 7.0]
    assert attempts.take("10.0.0.2") == 0.0  # somebody else
    waits = [attempts.take("10.0.0.1") for _ in range(20)]
    assert waits[-1] is None and all(wait is None or wait <= LONGEST_PAUSE for wait in waits)
    clock[0] += LONGEST_PAUSE  # of those that wait each has its turn, and no more
    assert 0.0 < attempts.take("10.0.0.1") <= LONGEST_PAUSE
    clock[0] += 3 * LONGEST_PAUSE + FORGOTTEN
    assert attempts.take("10.0.0.1") == 0.0
    for _ in range(FREE):
        attempts.take("10.0.0.1")
    attempts.forget("10.0.0.1")
    assert attempts.take("10.0.0.1") == attempts.take("10.0.0.1") == 0.0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("", "10.0.0.2", False),
    ],
)
def test_the_addresses_of_one_visitor_count_together(one, other, same):
    attempts = Attempts(lambda: 0.0)
    for _ in range(FREE + 1):
        attempts.take(one)
    assert (attempts.take(other) > 0) is same


def test_a_password_is_asked_where_others_reach_the_page(tmp_path, monkeypatch):
    monkeypatch.delenv("MEDCLIPSAM_WEB_PASSWORD", raising=False)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert find_password("127.0.0.1") is None
    with pytest.raises(InputError, match="needs a password of at least 8 letters"):
        find_password("0.0.0.0")
    monkeypatch.setenv("MEDCLIPSAM_WEB_PASSWORD", "from outside")
    assert find_password("0.0.0.0") == find_password("127.0.0.1") == "from outside"
    (tmp_path / "word").write_text("from a file\n")
    assert find_password("0.0.0.0", tmp_path / "word") == "from a file"
    (tmp_path / "word").write_text("short\n")
    for file in (tmp_path / "word", tmp_path / "nothing"):
        with pytest.raises(InputError):
            find_password("0.0.0.0", file)
    assert same_password("a", "a") and not same_password("ä", "a")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--host", "0.0.0.0"], "needs a password"),
        (["--preset", "nothing"], "unknown preset"),
        (["--device", "toaster"], "device"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line(command, monkeypatch, words, line):
    monkeypatch.delenv("MEDCLIPSAM_WEB_PASSWORD", raising=False)
    code, _, err = command("web", *words)
    assert code == 2 and line in err and len(err.strip().splitlines()) == 1


def test_the_help_needs_no_gradio(command):
    code, out, _ = command("web", "--help")
    assert code == 0 and "--max-upload" in out
