"""What the functions behind the parts of the page share: who asks, what was sent, and what is said when it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import gradio as gr

from medclipsam_monai.web import fields
from medclipsam_monai.web.visits.answer import told

Updates = Iterator[dict[Any, Any]]
QUIET: dict[str, Any] = {
    "show_progress": "hidden",
    "api_visibility": "private",
    "concurrency_limit": None,
    "preprocess": False,
}
"""Of every event: the page itself says how far it is, and which values cannot be."""
LAST: dict[str, Any] = {**QUIET, "trigger_mode": "always_last"}
"""Likewise, where only the last one of many counts."""


def in_a_line(handler: Callable[..., Updates]) -> Callable[..., Updates]:
    """Lets the page say in a line what goes wrong, whatever is sent to it; an exception would end in the log.

    Args:
        handler: a method of what has the page's parts as `parts`.
    """

    @wraps(handler)
    def told_plainly(events: Any, *sent: Any) -> Updates:
        try:
            yield from handler(events, *sent)
        except Exception as error:
            yield {events.parts.status: fields.status(told(error), "error")}

    return told_plainly


def page_of(request: gr.Request) -> str:
    """The number that a page has given itself."""
    return str(request.session_hash)


def sent_with(event: gr.EventData) -> dict[str, Any]:
    """What a part of the page sent with an event."""
    return event._data if isinstance(event._data, dict) else {}
