"""From what the picture on the page sends to clicks and boxes in the image that is open."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.web.shown.planes import Plane, planes_of
from medclipsam_monai.web.visits.corrections import Mark
from medclipsam_monai.web.visits.visit import Visit

_NO_PLACE = "the click lies outside of the picture"


def marks_of(visit: Visit, sent: Mapping[str, Any], name: str | None) -> list[Mark]:
    """What the picture sent as clicks and boxes of the class that is chosen.

    Raises:
        InputError: nothing is asked yet, or a place that is none.
    """
    marks = sent.get("marks")
    if visit.opened is None or visit.answer is None:
        raise InputError("there is nothing to correct yet; say first what to look for")
    if not isinstance(marks, list) or not all(isinstance(one, dict) for one in marks):
        raise InputError(_NO_PLACE)
    names, planes = visit.answer.segmentation.found.names, planes_of(visit.opened)
    return [_mark(one, name if name in names else names[0], planes) for one in marks]


def _mark(one: Mapping[str, Any], name: str, planes: dict[str, Plane]) -> Mark:
    plane = planes.get(str(one.get("plane", "")))
    try:
        number, first = int(one["slice"]), (float(one["x"]), float(one["y"]))
        last = (float(one["right"]), float(one["bottom"])) if "right" in one else None
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(_NO_PLACE) from error
    if plane is None or not all(map(math.isfinite, (*first, *(last or ())))):
        raise InputError(_NO_PLACE)
    if last is not None and not plane.is_cut:
        cut = next(iter(planes))
        raise InputError(f"a box has no area in the slices that the networks see; draw it in the {cut} plane")
    x, y, in_slice = plane.place(*first, number)
    place = (x, y) if last is None else (x, y, *plane.place(*last, number)[:2])
    return Mark(name, in_slice, place, bool(one.get("inside", True)))
