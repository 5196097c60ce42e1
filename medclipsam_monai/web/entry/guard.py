"""What stands before the page: which addresses it answers under, how much may be sent, and what a browser may load."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import ExitStack
from contextvars import ContextVar
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.web.entry.hosts import is_loopback, name_of, place_of
from medclipsam_monai.web.entry.messages import MOST_BYTES, check_message
from medclipsam_monai.web.uploads.arrivals import Arrivals

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
logger = logging.getLogger(__name__)
asks: ContextVar[str] = ContextVar("asks", default="")
"""The address of the client whose request is answered."""

_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; "
    "frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
}
"""Of every answer: a browser loads nothing from elsewhere, whatever the page says."""
_ENVELOPE = 2**20  # bytes of a request beside its files
_DIGITS = 20  # of a length; Python refuses to read a number of thousands
_UPLOAD, _JOIN = "/gradio_api/upload", "/gradio_api/queue/join"
_PAGES = ("/", "/login", "/logout", "/config", "/theme.css", "/favicon.ico")
_EVENTS = ("queue/data", "upload_progress", "cancel", "reset", "app_id")
_USED = frozenset([*_PAGES, _UPLOAD, _JOIN, *(f"/gradio_api/{name}" for name in _EVENTS)])
_USED_BELOW = ("/assets/", "/static/", "/download/", "/gradio_api/heartbeat/")
"""What the page needs; Gradio answers under much else."""


class Guard:
    """Refuses requests before the page sees them; an ASGI application around another.

    Args:
        app: the page.
        local_only: answer under this machine's own names alone, so that a name that somebody points to it leads
            nowhere (DNS rebinding).
        most_bytes: that may be sent at once.
        arrivals: where it is put.
        events: see `check_message`.
    """

    def __init__(
        self, app: App, local_only: bool, most_bytes: int, arrivals: Arrivals, events: Mapping[int, int]
    ) -> None:
        self.app, self.local_only, self.most_bytes, self.arrivals = app, local_only, most_bytes, arrivals
        self.events = events

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        path = str(scope["path"])
        refused = self._refused(headers, path)
        if refused is not None:
            await _answer(send, *refused)
            return
        asks.set(str((scope.get("client") or ("",))[0]))
        counted: Receive
        counted = came = _Counted(receive, self._most(path))
        with ExitStack() as ends:
            try:
                if path == _UPLOAD:
                    ends.enter_context(self.arrivals.one(int(headers.get("content-length", self._most(path)))))
                elif path == _JOIN:
                    counted = await self._checked(counted)
            except InputError as error:
                await _answer(send, 507 if path == _UPLOAD else 400, str(error))
                return
            try:
                await self.app(scope, counted, _with_headers(send))
            except Exception as error:  # what was sent has no place in the log, nor has a trace that shows it
                if not came.is_broken_off:
                    logger.error("a request was not answered: %s", type(error).__name__)

    def _most(self, path: str) -> int:
        """Bytes of a request."""
        return self.most_bytes + _ENVELOPE if path == _UPLOAD else MOST_BYTES

    async def _checked(self, receive: Receive) -> Receive:
        """A message of the page, read whole and looked at."""
        parts: list[bytes] = []
        more = True
        while more:
            part = await receive()
            parts.append(part.get("body", b""))
            more = part["type"] == "http.request" and part.get("more_body", False)
        body = b"".join(parts)
        await asyncio.to_thread(check_message, body, self.arrivals, self.events)
        whole = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        return again

    def _refused(self, headers: Mapping[str, str], path: str) -> tuple[int, str] | None:
        """A status and a line, or None where the request may go on."""
        host = headers.get("host", "")
        if self.local_only and not is_loopback(name_of(host)):
            return 403, "this page answers under 127.0.0.1 and localhost only"
        origin = headers.get("origin")
        if origin is not None and place_of(origin) != host.lower():
            return 403, "this request comes from another page"
        if path not in _USED and not path.startswith(_USED_BELOW):
            return 404, "there is nothing here"
        length, most = headers.get("content-length", "0"), self._most(path)
        if not (length.isascii() and length.isdecimal() and len(length) <= _DIGITS) or int(length) > most:
            what = f"{self.most_bytes:,} bytes are not taken (--max-upload)"
            return 413, f"more than {what if path == _UPLOAD else f'{most:,} bytes are no message of this page'}"
        return None


class _Counted:
    """Ends a request that sends more bytes than it may, also where it does not say how much that is.

    Attributes:
        is_broken_off: whether it ended before it was whole.
    """

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._left, self.is_broken_off = receive, most, False

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            message = {"type": "http.disconnect"}
        self.is_broken_off = message["type"] == "http.disconnect"
        return message


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            ours = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            kept = [one for one in message.get("headers", ()) if one[0].decode("latin-1").lower() not in HEADERS]
            message = {**message, "headers": [*kept, *ours]}
        await send(message)

    return sent


async def _answer(send: Send, status: int, line: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{line}\n".encode()})
