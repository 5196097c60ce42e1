"""A Hugging Face hub on this machine, as far as a repository's files are listed and downloaded from one."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

COMMIT = "c" * 40
NAME = r"[\w.-]+/[\w.-]+"


@dataclass
class Hub:
    """One repository, whatever its name.

    Args:
        folder: its files.
        refusal: status and error code that every answer has instead, if not None.
        broken: names of files whose answers break off in the middle.
    """

    folder: Path
    refusal: tuple[int, str] | None = None
    broken: set[str] = field(default_factory=set)
    tokens: list[str | None] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    def __init__(self, hub: Hub, *args) -> None:
        self.hub = hub
        super().__init__(*args)

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = urlsplit(self.path).path
        self.hub.tokens.append(self.headers.get("Authorization"))
        if self.hub.refusal is not None:
            status, code = self.hub.refusal
            self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": "refused"}, with_body)
        elif re.fullmatch(rf"/api/models/{NAME}/revision/\w+", path):
            siblings = [{"rfilename": name} for name in self._names()]
            content = {"id": "a/b", "sha": COMMIT, "siblings": siblings}
            self._send(200, json.dumps(content).encode(), {}, with_body)
        elif re.fullmatch(rf"/api/models/{NAME}/tree/\w+", path):
            rows = [
                {"type": "file", "path": name, "size": (self.hub.folder / name).stat().st_size, "oid": "0" * 40}
                for name in self._names()
            ]
            self._send(200, json.dumps(rows).encode(), {}, with_body)
        elif match := re.fullmatch(rf"/{NAME}/resolve/\w+/(.+)", path):
            self._send_file(match[1], with_body)
        else:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"}, with_body)

    def _names(self) -> list[str]:
        return sorted(str(p.relative_to(self.hub.folder)) for p in self.hub.folder.rglob("*") if p.is_file())

    def _send_file(self, name: str, with_body: bool) -> None:
        content = (self.hub.folder / name).read_bytes()
        if with_body:
            self.hub.fetched.append(name)
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        self._send(200, content, headers, with_body, broken=name in self.hub.broken)

    def _send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool, broken: bool = False) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body[: len(body) // 2] if broken else body)


@contextmanager
def serving(folder: Path) -> Iterator[Hub]:
    """A running `Hub` of a folder."""
    hub = Hub(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, hub))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
