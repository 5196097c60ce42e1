"""Tables of what a settings file may hold: each name with the kind of its value, all else refused.

Files that come from elsewhere name classes, files and sizes to libraries that would look them up or take memory for
them. What is not in a table here never reaches those libraries.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from medclipsam_monai.base.errors import InputError

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        says: what is expected, as it stands in an error.
        holds: whether a value is of this kind.
    """

    says: str
    holds: Callable[[Any], bool]


def one_of(*values: str | int | bool | None) -> Kind:
    """One of these very values."""
    says = ", ".join("null" if value is None else str(value) for value in values)
    return Kind(says if len(values) == 1 else f"one of {says}", lambda given: _is_among(given, values))


def integer(low: int, high: int) -> Kind:
    """A whole number, both limits included; True is none."""
    return Kind(f"a whole number from {low} to {high}", lambda given: type(given) is int and low <= given <= high)


def number(low: float, high: float) -> Kind:
    """A finite number, both limits included; True is none."""
    return Kind(
        f"a number from {low:g} to {high:g}",
        lambda given: type(given) in (int, float) and low <= given <= high,
    )


def text(longest: int = 1000) -> Kind:
    """Words of at most so many characters."""
    return Kind(f"a text of at most {longest} characters", lambda given: type(given) is str and len(given) <= longest)


def each(kind: Kind, count: int | None = None, most: int = 1000) -> Kind:
    """A list (or a tuple) of values of one kind.

    Args:
        kind: of each value.
        count: how many, None for any number up to ``most``.
        most: the largest number.
    """
    many = f"{count}" if count is not None else f"at most {most}"

    def holds(given: Any) -> bool:
        if type(given) not in (list, tuple) or not (len(given) == count if count is not None else len(given) <= most):
            return False
        return all(kind.holds(value) for value in given)

    return Kind(f"a list of {many}, each {kind.says}", holds)


def either(*kinds: Kind) -> Kind:
    """A value of any of these kinds."""
    return Kind(" or ".join(kind.says for kind in kinds), lambda given: any(kind.holds(given) for kind in kinds))


BOOLEAN = one_of(True, False)
NULL = one_of(None)
NAME = Kind(
    "a plain name of letters, digits, '_', '-' and '.'",
    lambda given: type(given) is str and len(given) <= 200 and bool(_PLAIN_NAME.fullmatch(given)),
)
"""A name that is no path: it may become part of one."""
ANYTHING = Kind("any value", lambda given: True)


def check_object(
    content: Any, required: Mapping[str, Kind], optional: Mapping[str, Kind], where: str
) -> dict[str, Any]:
    """Make sure that an object holds what its tables say, and nothing else.

    Args:
        content: the object.
        required: names that must be there, with the kinds of their values.
        optional: names that may be there.
        where: what the object is called in an error.

    Returns:
        ``content``.

    Raises:
        InputError: it is no object, lacks a name, has an unknown one, or one with a value of another kind.
    """
    if type(content) is not dict:
        raise InputError(f"{where} must be an object, got {shown(content)}")
    kinds = {**required, **optional}
    for name in content:
        if type(name) is not str or name not in kinds:
            key = shown(name).strip("'")
            raise InputError(f"{where} has an unknown key {key}; expected {', '.join(sorted(kinds)) or 'none'}")
    missing = [name for name in required if name not in content]
    if missing:
        raise InputError(f"{where} lacks a key: {missing[0]}")
    for name, value in content.items():
        if not kinds[name].holds(value):
            raise InputError(f"{name} in {where} must be {kinds[name].says}, got {shown(value)}")
    return content


def shown(value: Any) -> str:
    """A value as an error shows it: on one line, cut short, and without asking it how it wants to be shown."""
    if isinstance(value, (dict, list, tuple, set)):
        return f"a {type(value).__name__} of {len(value)}"
    if value is not None and type(value) not in (str, bool, int, float):
        return f"a {type(value).__name__}"
    if type(value) is int and value.bit_length() > 1000:
        return "a number of more than 300 digits"
    words = repr(value)
    return words if len(words) <= 80 else f"{words[:77]}..."


def _is_among(given: Any, values: tuple[Any, ...]) -> bool:
    return any(type(given) is type(value) and given == value for value in values)
