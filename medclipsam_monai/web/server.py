"""The server of the page: the visits, their downloads, and Gradio behind a guard."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.interrupts import tidying
from medclipsam_monai.presets import DEFAULT_PRESET
from medclipsam_monai.web.entry.attempts import guarded_password
from medclipsam_monai.web.entry.guard import App, Guard
from medclipsam_monai.web.entry.hosts import is_loopback
from medclipsam_monai.web.visits.answer import Limits
from medclipsam_monai.web.visits.downloads import download
from medclipsam_monai.web.visits.networks import Networks
from medclipsam_monai.web.visits.question import Question
from medclipsam_monai.web.visits.registry import Visits

_SWEEP_SECONDS = 20.0
_TERMINATED = 128 + 15


@dataclass(frozen=True)
class WebOptions:
    """How a page is served.

    Attributes:
        host: to listen on.
        port: 0 for a free one.
        preset: offered first.
        device: see `resolve_device`.
        max_upload: bytes that may be sent at once.
        max_voxels: of an image; None for the package's own limit.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    preset: str = DEFAULT_PRESET
    device: str = "auto"
    max_upload: int = 10**9
    max_voxels: int | None = None


def serve(options: WebOptions, password: str | None = None, told: Callable[[str], object] = print) -> None:
    """Serve the page until it is interrupted; to be called in the main thread.

    Args:
        options: how.
        password: that a visitor must give; None asks for none.
        told: is given the line with the address.

    Raises:
        InputError: Gradio is not installed, the preset cannot be used, or the address is taken.
    """
    if find_spec("gradio") is None:
        raise InputError("the page needs Gradio: pip install 'medclipsam-monai[web]'")
    listening = _listen(options.host, options.port)
    try:
        networks = Networks(options.preset, options.device)
        networks.segmenter(Question(preset=options.preset))  # loaded before the first visitor waits for it
        with tidying():
            visits = Visits(networks, Limits(options.max_upload, options.max_voxels))
            app = make_app(visits, password, local_only=is_loopback(options.host) and password is None)
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))  # else what was sent would stay
            told(f"http://{_shown(options.host)}:{listening.getsockname()[1]}  (Ctrl-C ends it)")
            sys.stdout.flush()
            with sweeping(visits):
                _server(app).run([listening])
    finally:
        listening.close()


def make_app(visits: Visits, password: str | None = None, local_only: bool = True) -> App:
    """The page as an ASGI application.

    Args:
        visits: of the server.
        password: see `serve`.
        local_only: see `Guard`.
    """
    # read when Gradio is imported: where it puts what is sent, and that it tells nobody
    os.environ.update(GRADIO_TEMP_DIR=str(visits.arrivals.folder), GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")
    import fastapi
    import gradio as gr

    from medclipsam_monai.web.page import HEAD, THEME, build_page, style

    app = fastapi.FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_api_route("/download/{address}/{what}", _download_route(visits), methods=["GET"], response_model=None)
    page = build_page(visits)
    mounted = gr.mount_gradio_app(
        app,
        page,
        "/",
        auth=None if password is None else guarded_password(password),
        auth_message="Any name, and the password that this page was started with.",
        footer_links=[],
        show_error=False,
        max_file_size=visits.limits.upload,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        app_kwargs={"openapi_url": None, "docs_url": None, "redoc_url": None},
        theme=THEME,
        css=style(),
        head=HEAD,
    )
    events = {number: len(event.inputs) for number, event in page.fns.items()}
    return Guard(mounted, local_only, visits.limits.upload, visits.arrivals, events)


def _download_route(visits: Visits) -> Callable[[str, str], Any]:
    from fastapi.responses import FileResponse, PlainTextResponse

    def give(address: str, what: str) -> Any:
        visit = visits.by_address(address)
        try:
            if visit is None:
                raise InputError("this page is gone, and its files with it; open the image again")
            path = download(visit, what)
        except InputError as error:
            return PlainTextResponse(f"{error}\n", 404)
        return FileResponse(
            path, filename=path.name, media_type="application/octet-stream", headers={"cache-control": "no-store"}
        )

    return give


@contextlib.contextmanager
def serving(visits: Visits, password: str | None = None) -> Iterator[str]:
    """A block in which this machine can reach the page, served by a thread; gives its address.

    Args:
        visits: which end with the block.
        password: see `serve`.
    """
    listening = _listen("127.0.0.1", 0)
    server = _server(make_app(visits, password))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    with sweeping(visits):
        thread.start()
        try:
            while thread.is_alive() and not server.started:
                time.sleep(0.05)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


@contextlib.contextmanager
def sweeping(visits: Visits) -> Iterator[None]:
    """A block in which ended visits are removed now and then; after it all are."""
    ended = threading.Event()

    def sweep() -> None:
        while not ended.wait(_SWEEP_SECONDS):
            visits.sweep()

    threading.Thread(target=sweep, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        visits.close()


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: it cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host.strip("[]"), port))
        listening.listen(128)  # who comes before the server runs waits for it
    except (OSError, UnicodeError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot listen on {host}, port {port}: {reason}; give another --port or --host") from error
    return listening


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _server(app: App) -> Any:
    import uvicorn

    # no line for each request: an address holds what names a visit; open pages do not keep the server from its end
    options: dict[str, Any] = {"log_level": "warning", "access_log": False, "timeout_graceful_shutdown": 1}
    server = uvicorn.Server(uvicorn.Config(app, server_header=False, **options))
    # nor are the connections that are cut off then errors
    logging.getLogger("uvicorn.error").addFilter(lambda record: not server.should_exit)
    return server
