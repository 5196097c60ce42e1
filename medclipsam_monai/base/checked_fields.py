"""Checks settings against the fields that declare them: one place for types and ranges, and for what the user is told.

Settings come as text on a command line, from JSON files, from Python, from a bundle's configuration and over HTTP. A
dataclass declares them: the annotation of a field gives its type, `number` its range. Nothing heavy is imported here,
so that a mistake is said before any model code is loaded.
"""

from __future__ import annotations

import math
import numbers
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from medclipsam_monai.base.errors import InputError

_RANGE = "range"
_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = _shown.maxlong = 60


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may be.

    Attributes:
        low: the least.
        high: the greatest, or infinity; the number itself must be finite all the same.
        open_low: ``low`` itself is left out.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False

    def __contains__(self, value: Any) -> bool:
        return self.low <= value <= self.high and not (self.open_low and value == self.low)

    def __str__(self) -> str:
        low = (
            ""
            if self.low == -math.inf
            else f" above {_plain(self.low)}"
            if self.open_low
            else f" from {_plain(self.low)}"
        )
        high = "" if self.high == math.inf else f" to {_plain(self.high)}"
        return low + high


def number(default: Any, low: float = -math.inf, high: float = math.inf, above: float | None = None) -> Any:
    """A dataclass field with a default and the range of its numbers.

    Args:
        default: the field's.
        low: the least number allowed.
        high: the greatest number allowed.
        above: in place of ``low``, a number that the setting must exceed.
    """
    span = Range(low, high) if above is None else Range(above, high, open_low=True)
    return field(default=default, metadata={_RANGE: span})


def check(settings: Any, prefix: str = "") -> None:
    """Check all fields of a dataclass instance; for ``__post_init__``.

    Raises:
        InputError: a value of another type or out of its range.
    """
    values = {one.name: getattr(settings, one.name) for one in fields(settings)}
    check_options(type(settings), values, prefix)


def check_options(table: type, options: Mapping[str, Any], prefix: str = "") -> None:
    """Check options by the fields of a dataclass; those that are none of its fields are passed over.

    Args:
        table: the dataclass.
        options: values by field name.
        prefix: put before a name in the message, such as "saliency.".

    Raises:
        InputError: a value of another type or out of its range, such as
            "saliency.layer must be a whole number from 0, got 9.5".
    """
    declared = _declared(table)
    for name, value in options.items():
        if name in declared:
            check_value(prefix + name, value, *declared[name])


def check_value(name: str, value: Any, hint: Any, span: Range | None = None) -> None:
    """Check one value.

    Args:
        name: as the user wrote it.
        value: what came.
        hint: its type: int, float, bool, str, None, a Literal, a sequence of one of them, or a union of these; any
            other type is checked by ``isinstance``.
        span: range of the numbers in it.

    Raises:
        InputError: a value of another type or out of its range.
    """
    span = span or Range()
    if not any(_fits(value, kind, span) for kind in _kinds(hint)):
        raise InputError(f"{name} must be {expected(hint, span)}, got {shown(value)}")


def expected(hint: Any, span: Range | None = None) -> str:
    """What a setting may be, in words: "a whole number from 1 to 1,000, or None"."""
    span = span or Range()
    kinds = _kinds(hint)
    words = [_words(kind, span, also=kinds[:n]) for n, kind in enumerate(kinds)]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def shown(value: Any) -> str:
    """A value for a message, on one line and cut short, however large or deep it is."""
    return " ".join(_shown.repr(value).split())


@cache
def _declared(table: type) -> dict[str, tuple[Any, Range | None]]:
    hints = get_type_hints(table)
    return {one.name: (hints[one.name], one.metadata.get(_RANGE)) for one in fields(table)}


def _kinds(hint: Any) -> list[Any]:
    """The alternatives of a type, None last."""
    kinds = list(get_args(hint)) if get_origin(hint) in (Union, UnionType) else [hint]
    return sorted(kinds, key=lambda kind: kind is NoneType)


def _fits(value: Any, kind: Any, span: Range) -> bool:
    origin = get_origin(kind)
    if kind is Any:
        return True
    if kind in (None, NoneType):
        return value is None
    if origin is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if kind in (int, float):
        return is_number(value, kind) and value in span
    if origin is not None and issubclass(origin, Sequence):
        (inner, *_) = get_args(kind)
        return isinstance(value, list | tuple) and len(value) > 0 and all(_fits(one, inner, span) for one in value)
    return isinstance(value, origin or kind)


def is_number(value: Any, kind: type = float) -> bool:
    """Whether a value is a whole or any finite number; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral if kind is int else numbers.Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the largest float
        return False


def _words(kind: Any, span: Range, also: Sequence[Any] = ()) -> str:
    """One alternative in words; ``also`` are those named before it."""
    origin = get_origin(kind)
    if kind in (None, NoneType):
        return "None"
    if origin is Literal:
        choices = get_args(kind)
        return ", ".join(choices) if len(choices) < 2 else f"one of {', '.join(choices)}"
    if kind in (int, float):
        return ("a whole number" if kind is int else "a number") + str(span)
    if origin is not None and issubclass(origin, Sequence):
        (inner, *_) = get_args(kind)
        return "a list of them" if inner in also else f"a list of numbers{span}"
    known = {bool: "true or false", str: "words", Mapping: "an object of names and values"}
    return known.get(origin or kind, f"a {getattr(origin or kind, '__name__', kind)}")


def _plain(value: float) -> str:
    """A bound as people write it: 1,000 rather than 1e+03."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:g}"
