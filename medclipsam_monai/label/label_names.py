"""What the numbers of a submitted label are called: said by its client, else those of the server's classes.

The names are kept with the label, so that it means the same when the server has another list of classes one day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.value_checks import integer
from medclipsam_monai.label.served_classes import ServedClasses, plain_name
from medclipsam_monai.prompts import TextTarget

_NO_CLASS = ("background", "foreground_scribbles", "background_scribbles")
_LONGEST_NAME = 200


def check_label_info(label_info: Any) -> None:
    """What a client sent as "label_info".

    Raises:
        InputError: it is no list of names, with or without numbers.
    """
    number = integer(0, 255)
    if not isinstance(label_info, list) or not all(
        isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and (number.holds(entry.get("idx", 0)) or str(entry.get("idx")).isdecimal())
        for entry in label_info
    ):
        raise InputError('label_info must be a list such as [{"name": "heart", "idx": 2}]')


def numbers_of(label_info: Sequence[Mapping[str, Any]]) -> list[int]:
    """The number of each entry; one without has its place in the list, from 1 on."""
    return [int(entry.get("idx", place)) for place, entry in enumerate(label_info, start=1)]


def named(
    labels: np.ndarray, label_info: Any, classes: ServedClasses, by_place: bool = False
) -> list[dict[str, Any]] | None:
    """The names of a submitted label's numbers.

    Args:
        labels: whole numbers, 0 background.
        label_info: what the client said of them, [{"name": "heart", "idx": 2}, ...], or nothing.
        classes: of the server; the classes of the label outlive it from now on.
        by_place: the client is one that may number labels by the places in the list, whatever "idx" says.

    Returns:
        An entry with "name" and "idx" for each, with all else that the client said. None where nothing was said and
        some number is no class of the server.

    Raises:
        InputError: a list of another form, or one that does not name all numbers of the label.
    """
    present = [int(number) for number in np.unique(labels) if number]
    if label_info:
        check_label_info(label_info)
        entries = _with_numbers(label_info, present, by_place)
    else:
        names = classes.names()
        if not present or max(present) > len(names):
            return None
        entries = [{"name": names[number - 1], "idx": number} for number in present]
    _keep([entry["name"] for entry in entries if entry["idx"] in present], classes)
    return entries


def _with_numbers(
    label_info: Sequence[Mapping[str, Any]], present: Sequence[int], by_place: bool
) -> list[dict[str, Any]]:
    numbers = numbers_of(label_info)
    for number in present:
        names = {plain_name(entry["name"]) for entry, other in zip(label_info, numbers, strict=True) if other == number}
        if len(names) > 1:
            raise InputError(f"label_info has two names for the number {number}: {', '.join(sorted(names))}")
    places = max(present, default=0) <= len(label_info)  # are what the label may hold as well
    counted = [number for number in present if places and numbers[number - 1] != number]
    if by_place and counted and set(present) <= set(numbers):
        raise InputError(
            f"label_info counts to {max(numbers)} for {len(label_info)} segments, so that its number {counted[0]} may "
            "be one or the other; remove the segment background, or number the segments from 1 on"
        )
    if not set(present) <= set(numbers):
        if len(label_info) == len(present) == 1:  # a mask of one class, whatever number it has
            numbers = list(present)
        elif max(present) <= len(label_info):  # 3D Slicer counts in "idx" what it leaves out of the label
            numbers = list(range(1, len(label_info) + 1))
        else:
            missing = ", ".join(str(number) for number in present if number not in numbers)
            said = ", ".join(f"{number} {entry['name']}" for number, entry in zip(numbers, label_info, strict=True))
            raise InputError(f"it holds the number {missing}, which label_info does not name; it says {said}")
    return [{**entry, "idx": number} for number, entry in zip(numbers, label_info, strict=True)]


def _keep(names: Sequence[str], classes: ServedClasses) -> None:
    """List the classes of a label for good; a list that is full takes no more, and the label is good all the same."""
    targets = [
        TextTarget(name.strip(), (name.strip(),))
        for name in names
        if name.strip() and len(name) <= _LONGEST_NAME and name.isprintable() and plain_name(name) not in _NO_CLASS
    ]
    for target in targets:
        try:
            classes.numbers([target], keep=True)
        except InputError:
            return
