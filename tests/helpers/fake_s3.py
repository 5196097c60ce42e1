"""A small server that speaks as much of S3 as pyarrow's file system asks, on the loopback, with its objects in memory.

It knows one bucket and one key of access; what was signed is not verified. What a kill between two requests leaves is
made by ``fail_after``, and ``requests`` says what was asked.
"""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET, ACCESS, SECRET = "masks", "AKIDFORTESTS", "a/secret+for=tests"


class FakeS3(ThreadingHTTPServer):
    """Objects by key; ``denied`` methods are refused, and so is all that changes after ``fail_after`` changes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.requests: list[tuple[str, str]] = []
        self.denied: set[str] = set()
        self.fail_after: int | None = None
        self.guard = threading.Lock()

    @property
    def variables(self) -> dict[str, str]:
        """What the environment of a client must hold."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server_address[1]}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def files(self) -> dict[str, bytes]:
        """The objects, without those that stand for folders."""
        return {key: content for key, content in self.objects.items() if not key.endswith("/")}


@contextlib.contextmanager
def fake_s3() -> Iterator[FakeS3]:
    with FakeS3() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeS3

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        body = self._body()
        with self.server.guard:
            self.server.requests.append((self.command, key))
            refused = self._refused(bucket)
            status, content, headers = refused or getattr(self, f"_{self.command.lower()}")(key, query, body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        length = headers.get("Content-Length")
        if length is None:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

    def _body(self) -> bytes:
        """What was sent, out of the chunks of HTTP and those of AWS in them."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            sent = _chunks(self.rfile)
        else:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return _chunks(io.BytesIO(sent)) if "aws-chunked" in self.headers.get("Content-Encoding", "") else sent

    def _refused(self, bucket: str) -> tuple[int, bytes, dict[str, str]] | None:
        if f"Credential={ACCESS}/" not in self.headers.get("Authorization", ""):
            return _error(403, "InvalidAccessKeyId", "The access key does not exist")
        if bucket != BUCKET:
            return _error(404, "NoSuchBucket", "The specified bucket does not exist")
        if self.command in self.server.denied:
            return _error(403, "AccessDenied", "Access Denied")
        if self.command in ("PUT", "POST", "DELETE") and self.server.fail_after is not None:
            if not self.server.fail_after:
                return _error(403, "AccessDenied", "Cut off")
            self.server.fail_after -= 1
        return None

    def _head(self, key: str, query: dict[str, str], body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if key and key not in self.server.objects:
            return 404, b"", {}
        size = len(self.server.objects.get(key, b""))
        return 200, b"", {"Content-Length": str(size), "Last-Modified": "Sat, 01 Jan 2022 00:00:00 GMT"}

    def _get(self, key: str, query: dict[str, str], body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if not key:
            return 200, self._listed(query.get("prefix", ""), query.get("delimiter", "")), {}
        if key not in self.server.objects:
            return _error(404, "NoSuchKey", "The specified key does not exist")
        content = self.server.objects[key]
        wanted = self.headers.get("Range", "")
        if not wanted.startswith("bytes="):
            return 200, content, {}
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        part = content[int(first) : int(last) + 1]
        return 206, part, {"Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"}

    def _listed(self, prefix: str, delimiter: str) -> bytes:
        keys = sorted(key for key in self.server.objects if key.startswith(prefix))
        folders = set()
        if delimiter:
            deep = [key for key in keys if delimiter in key[len(prefix) :]]
            folders = {prefix + key[len(prefix) :].split(delimiter)[0] + delimiter for key in deep}
            keys = [key for key in keys if key not in deep]
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.server.objects[key])}</Size>"
            "<LastModified>2022-01-01T00:00:00.000Z</LastModified></Contents>"
            for key in keys
        )
        rows += "".join(f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(folders))
        count = f"<KeyCount>{len(keys) + len(folders)}</KeyCount><IsTruncated>false</IsTruncated>"
        return f"<ListBucketResult><Name>{BUCKET}</Name>{count}{rows}</ListBucketResult>".encode()

    def _put(self, key: str, query: dict[str, str], body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if "uploadId" in query:
            self.server.uploads[query["uploadId"]][int(query["partNumber"])] = body
        else:
            self.server.objects[key] = body
        return 200, b"", {"ETag": '"0"'}

    def _post(self, key: str, query: dict[str, str], body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if "uploads" in query:
            number = str(len(self.server.uploads))
            self.server.uploads[number] = {}
            told = f"<UploadId>{number}</UploadId>"
            return 200, f"<InitiateMultipartUploadResult>{told}</InitiateMultipartUploadResult>".encode(), {}
        parts = self.server.uploads.pop(query["uploadId"])
        self.server.objects[key] = b"".join(parts[number] for number in sorted(parts))
        done = b"<CompleteMultipartUploadResult><ETag>0</ETag></CompleteMultipartUploadResult>"
        return 200, done, {}

    def _delete(self, key: str, query: dict[str, str], body: bytes) -> tuple[int, bytes, dict[str, str]]:
        self.server.objects.pop(key, None)
        return 204, b"", {}


def _chunks(stream: BinaryIO) -> bytes:
    found = b""
    while size := int(stream.readline().split(b";")[0], 16):
        found += stream.read(size)
        stream.readline()
    while stream.readline().strip():  # trailers
        pass
    return found


def _error(status: int, code: str, message: str) -> tuple[int, bytes, dict[str, str]]:
    return status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode(), {}
