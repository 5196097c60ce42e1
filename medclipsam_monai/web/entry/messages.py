"""What the page sends as JSON, looked at before Gradio sees it.

Of any file that a message names Gradio makes a copy, whatever lies there, and fetches what has an address. A page's own
messages name nothing but what was sent before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import parse_object
from medclipsam_monai.web.uploads.arrivals import Arrivals

MOST_BYTES = 10 * 2**20
"""Of a message: one with twenty thousand files takes nearly all of it."""


_STRANGE = "the message is none of this page's"


def check_message(body: bytes, arrivals: Arrivals, events: Mapping[int, int]) -> None:
    """Refuse a message that is none of the page's.

    Args:
        body: JSON.
        arrivals: what was sent before.
        events: of the page, number -> how many values it comes with.

    Raises:
        InputError: it is no JSON object, names a file that was not sent, or is of no event.
    """
    try:
        message = parse_object(body.decode("utf-8"), "the message")
    except UnicodeDecodeError as error:
        raise InputError("the message is not UTF-8") from error
    left: list[Any] = [message]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += one.values()
            if "path" in one and not arrivals.holds(one["path"]):
                raise InputError("the message names a file that was not sent")
            if not isinstance(one.get("meta", {}), dict):
                raise InputError(_STRANGE)
        elif isinstance(one, list):
            left += one
    event, values = message.get("fn_index"), message.get("data")
    if not isinstance(event, int) or not isinstance(values, list) or events.get(event) != len(values):
        raise InputError(_STRANGE)
