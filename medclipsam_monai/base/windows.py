"""How grey values are windowed: the table of CT windows and how a window is written.

CT windows are given in Hounsfield units (HU) as centre and width, with the values in common radiological use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from medclipsam_monai.base.errors import InputError

__all__ = ["CT_WINDOWS", "Window", "WindowLike", "parse_window", "percentile_window", "range_window"]

CT_WINDOWS: dict[str, tuple[float, float]] = {
    "lung": (-600, 1500),
    "mediastinum": (50, 350),
    "soft_tissue": (40, 400),
    "abdomen": (40, 400),
    "liver": (60, 160),
    "pancreas": (40, 350),
    "kidney": (40, 400),
    "spine": (50, 250),
    "bone": (400, 1800),
    "temporal_bone": (600, 2800),
    "brain": (40, 80),
    "stroke": (35, 40),
    "subdural": (75, 215),
    "angiography": (300, 600),
}
"""Names of CT windows: (centre, width) in HU."""


@dataclass(frozen=True)
class Window:
    """How grey values become [0, 1].

    Attributes:
        kind: "range" = from ``low`` to ``high`` in the image's own units (HU for CT); "percentile" = between the
            percentiles ``low`` and ``high``; "full" = from minimum to maximum; "uint8" = divided by 255; "auto" = by
            what is known about the image, else between the percentiles ``low`` and ``high``.
        low: lower end, in the units of ``kind``.
        high: upper end, in the units of ``kind``.
    """

    kind: Literal["auto", "range", "percentile", "full", "uint8"]
    low: float = 0.0
    high: float = 0.0


WindowLike: TypeAlias = str | Sequence[float] | Window
"""What a window may be given as: a text as in `parse_window`, (centre, width), or a `Window`."""


def parse_window(text: str, percentiles: Sequence[float] = (0.5, 99.5)) -> Window:
    """Read a window as it is written on a command line.

    Args:
        text: a name in ``CT_WINDOWS`` (case, "-", "_" and " " do not matter), "centre,width" in the image's units,
            "percentile", "percentile:low,high", "full", "uint8" or "auto".
        percentiles: what "percentile" and "auto" use, in [0, 100].

    Returns:
        The window.

    Raises:
        InputError: the text is none of these.

    Examples:
        >>> parse_window("Soft-Tissue")
        Window(kind='range', low=-160.0, high=240.0)
        >>> parse_window("percentile:1,99")
        Window(kind='percentile', low=1.0, high=99.0)
    """
    name, _, argument = text.strip().lower().partition(":")
    name = name.strip().replace("-", "_").replace(" ", "_") if name[:1].isalpha() else name
    if name == "percentile" and argument:
        return percentile_window("percentile", _two_numbers(argument, text))
    if not argument:
        if name == "auto":
            return percentile_window("auto", percentiles)
        if name == "percentile":
            return percentile_window("percentile", percentiles)
        if name == "full":
            return Window("full")
        if name == "uint8":
            return Window("uint8")
        if name in CT_WINDOWS:
            return range_window(*CT_WINDOWS[name])
        if "," in name:
            return range_window(*_two_numbers(name, text))
    raise _unknown_window(text)


def _unknown_window(text: str) -> InputError:
    names = ", ".join(sorted(CT_WINDOWS))
    forms = "auto, full, uint8, percentile, percentile:low,high, centre,width"
    return InputError(f'unknown window "{text}"; use {forms} or one of {names}')


def _two_numbers(argument: str, text: str) -> tuple[float, float]:
    try:
        first, second = (float(part) for part in argument.split(","))
    except ValueError:
        raise _unknown_window(text) from None
    return first, second


def range_window(centre: float, width: float) -> Window:
    """The window ``centre`` +- ``width`` / 2, in the image's units; raises InputError unless the width is above 0."""
    if not (math.isfinite(centre) and math.isfinite(width) and width > 0):
        raise InputError(f"a window is a finite centre and a width above 0, got centre {centre}, width {width}")
    return Window("range", centre - width / 2, centre + width / 2)


def percentile_window(kind: Literal["auto", "percentile"], percentiles: Sequence[float]) -> Window:
    """The window between two percentiles; raises InputError unless they increase within [0, 100]."""
    if len(percentiles) != 2 or not 0 <= percentiles[0] < percentiles[1] <= 100:
        raise InputError(f"percentiles are two increasing numbers in [0, 100], got {tuple(percentiles)}")
    return Window(kind, float(percentiles[0]), float(percentiles[1]))
