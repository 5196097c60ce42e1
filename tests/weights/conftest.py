"""A file server whose good and bad manners a test sets."""

from __future__ import annotations

import hashlib
import re
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

BLOCK = 1 << 18


@dataclass
class FileServer:
    """Serves one file, whatever the address asked for.

    Args:
        file: what it serves.
        ranges: whether it knows HTTP Range.
        tells_length: whether it says how long the file is.
        breaks: bytes after which it closes the connection, one for each of the first requests.
        status: what it answers instead, if not None.
        hold: while this is not set, every answer stops after its first block.
    """

    file: Path
    ranges: bool = True
    tells_length: bool = True
    breaks: list[int] = field(default_factory=list)
    status: int | None = None
    hold: threading.Event | None = None
    asked: list[str | None] = field(default_factory=list)
    url: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.file.read_bytes()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def __init__(self, manners: FileServer, *args) -> None:
        self.manners = manners
        super().__init__(*args)

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        manners, asked = self.manners, self.headers.get("Range")
        manners.asked.append(asked)
        if manners.status is not None:
            self.send_error(manners.status)
            return
        size = manners.file.stat().st_size
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and manners.ranges else 0
        if start >= size:
            self.send_error(416)
            return
        self.send_response(206 if asked and manners.ranges else 200)
        if asked and manners.ranges:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        if manners.tells_length:
            self.send_header("Content-Length", str(size - start))
        self.end_headers()
        self._send_body(start, manners.breaks.pop(0) if manners.breaks else size)

    def _send_body(self, start: int, count: int) -> None:
        with self.manners.file.open("rb") as file, suppress(ConnectionError):
            file.seek(start)
            while count > 0 and (block := file.read(min(BLOCK, count))):
                self.wfile.write(block)
                count -= len(block)
                if self.manners.hold is not None:
                    self.manners.hold.wait(timeout=60)


@pytest.fixture
def serve():
    """Start a `FileServer` of a file with the given manners; all of them end with the test."""
    running = []

    def start(file: Path, **manners) -> FileServer:
        served = FileServer(file, **manners)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, served))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        served.url = f"http://127.0.0.1:{server.server_port}/{file.name}"
        return served

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty weights folder of the test's own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("MEDCLIPSAM_HOME", str(folder))
    return folder
