"""A page that is served in the process of the tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Served:
    """A page that is served in this process."""

    url: str
    visits: Any


def serve(**options: Any) -> Iterator[Served]:
    """Serve a page of the preset `small` while the generator waits."""
    import uvicorn

    from medclipsam_monai.web.server import _listen, make_app
    from medclipsam_monai.web.visits.answer import Limits
    from medclipsam_monai.web.visits.networks import Networks
    from medclipsam_monai.web.visits.question import Question
    from medclipsam_monai.web.visits.registry import Visits

    visits = Visits(Networks("small", "cpu"), Limits(upload=options.get("upload", 20_000_000)))
    visits.networks.segmenter(Question())
    listening = _listen("127.0.0.1", 0)
    app = make_app(visits, options.get("password"))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", visits)
    server.should_exit = True
    thread.join(10)
    visits.close()
