"""What stands before the page: which addresses it answers under, how much may be sent, and what a browser may load."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

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
_UNUSED = (
    *("/docs", "/redoc", "/openapi.json", "/monitoring", "/gradio_api/openapi.json", "/gradio_api/proxy"),
    *("/gradio_api/file", "/gradio_api/deep_link", "/gradio_api/call", "/gradio_api/run", "/gradio_api/api"),
    *("/gradio_api/mcp", "/gradio_api/component_server", "/gradio_api/stream", "/gradio_api/vibe"),
)
"""What Gradio answers under besides, and this page needs nothing of."""
_LOCAL_NAMES = ("localhost", "localhost.localdomain")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address to listen on."""
    if host.lower() in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuses requests before the page sees them; an ASGI application around another.

    Args:
        app: the page.
        local_only: answer under this machine's own names alone, so that a name that somebody points to it leads
            nowhere (DNS rebinding).
        most_bytes: of a request; None for any number.
    """

    def __init__(self, app: App, local_only: bool, most_bytes: int) -> None:
        self.app, self.local_only, self.most_bytes = app, local_only, most_bytes + _ENVELOPE

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refused(headers)
        if refused is None and str(scope["path"]).startswith(_UNUSED):
            refused = 404, "there is nothing here"
        if refused is not None:
            await _answer(send, *refused)
            return
        await self.app(scope, self._counted(receive), _with_headers(send))

    def _refused(self, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """A status and a line, or None where the request may go on."""
        host = headers.get("host", "")
        if self.local_only and not is_loopback(_name_of(host)):
            return 403, "this page answers under 127.0.0.1 and localhost only"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "this request comes from another page"
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()) or int(length) > self.most_bytes:
            return 413, f"more than {self.most_bytes - _ENVELOPE:,} bytes are not taken (--max-upload)"
        return None

    def _counted(self, receive: Receive) -> Receive:
        """Ends a request that sends more than it may, also where it does not say how much that is."""
        count = 0

        async def counted() -> Message:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            return message if count <= self.most_bytes else {"type": "http.disconnect"}

        return counted


def _name_of(host: str) -> str:
    """A host header without its port."""
    return urlsplit(f"//{host}").hostname or "" if host and "/" not in host and "@" not in host else ""


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
