"""What stands before the page: names, sizes and other pages; passwords; the command line."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.web.guard import Guard, is_loopback
from medclipsam_monai.web.password import find_password, same_password


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("[::1]", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.2", False), ("example.org", False), ("127.0.0.1.example.org", False), ("", False)],
)  # fmt: skip
def test_what_only_this_machine_reaches(host, local):
    assert is_loopback(host) is local


def asked(local_only: bool = True, body: bytes = b"", path: str = "/", **headers: str) -> int:
    """The status of a request to a guarded page that reads all that is sent."""
    statuses = []

    async def page(scope, receive, send):
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
    guard = Guard(page, local_only, 5000)
    guard.most_bytes = 5000
    with ThreadPoolExecutor(1) as thread:  # Playwright's loop runs in this one
        thread.submit(asyncio.run, guard(scope, receive, send)).result()
    return statuses[0]


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
        (413, {"host": "localhost", "content-length": "5001"}),
        (413, {"host": "localhost", "content-length": "-1"}),
        (200, {"host": "localhost", "body": bytes(5000)}),
        (400, {"host": "localhost", "body": bytes(5001)}),
        (404, {"host": "localhost", "path": "/gradio_api/file=/etc/passwd"}),
        (404, {"host": "localhost", "path": "/docs"}),
    ],
)
def test_the_guard(status, request_):
    assert asked(**request_) == status


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
