"""Which series are segmented, and what is sought in each: rules in the JSON form of the App SDK's series selector.

The SDK's own operators are not used for this: its loader holds every pixel of the study in memory, drops slices that
share a position and dies of a damaged file, and its selector logs the values of the headers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object
from medclipsam_monai.base.windows import parse_window
from medclipsam_monai.io.dicom.geometry import acquisition_plane
from medclipsam_monai.io.dicom.header import readable
from medclipsam_monai.io.geometry import PLANES
from medclipsam_monai.io.guard import only_our_warnings
from medclipsam_monai.prompts import OppositesLike, TextLike

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": lambda found, wanted: found > wanted,
    ">=": lambda found, wanted: found >= wanted,
    "<": lambda found, wanted: found < wanted,
    "<=": lambda found, wanted: found <= wanted,
    "!=": lambda found, wanted: found != wanted,
}
_KEYS = {"name", "conditions", "text", "opposites", "window"}


@dataclass(frozen=True)
class Rule:
    """A rule: series that fulfil all its conditions are segmented.

    Attributes:
        name: of the rule.
        conditions: what a header must hold, by DICOM keyword, see `matches`.
        text: what to segment in these series, see `parse_targets`; None for what the command asks.
        opposites: what is seen where a class is absent; None for what the command asks.
        window: how grey levels are shown, see `parse_window`; None for what the command asks.
    """

    name: str
    conditions: Mapping[str, Any] = field(default_factory=dict)
    text: TextLike | None = None
    opposites: OppositesLike | None = None
    window: str | None = None


EVERY_SERIES = Rule("every series")


def read_rules(path: str | Path) -> tuple[Rule, ...]:
    """The rules of a file: ``{"selections": [{"name": ..., "conditions": {KEYWORD: ...}, "text": ...}, ...]}``.

    Raises:
        InputError: not a readable JSON file, an unknown key, keyword, window or condition.
    """
    content = read_object(path, what="the rules file")
    rules = content.get("selections")
    if not isinstance(rules, list) or not rules:
        raise InputError(f'the rules file {path} must hold {{"selections": [...]}} with at least one rule')
    return tuple(_rule(rule, number) for number, rule in enumerate(rules, start=1))


def _rule(content: Any, number: int) -> Rule:
    where = f"rule {number} of the rules file"
    if not isinstance(content, dict) or not isinstance(content.get("conditions", {}), dict):
        raise InputError(f'{where} must be an object with "conditions", an object of DICOM keywords')
    unknown = sorted(content.keys() - _KEYS)
    if unknown:
        raise InputError(f"{where} has an unknown key {unknown[0]!r}; expected {', '.join(sorted(_KEYS))}")
    for keyword, wanted in content.get("conditions", {}).items():
        _check_condition(keyword, wanted, where)
    if content.get("window") is not None:
        parse_window(str(content["window"]))
    return Rule(**{"name": str(number), "conditions": {}, **content})


def _check_condition(keyword: str, wanted: Any, where: str) -> None:
    if tag_for_keyword(keyword) is None:
        raise InputError(f"{where}: {keyword!r} is no DICOM keyword; expected one such as Modality")
    if keyword == "ImageOrientationPatient":
        if str(wanted).lower() not in PLANES:
            raise InputError(f"{where}: ImageOrientationPatient must be Axial, Coronal or Sagittal, got {wanted!r}")
        return
    values = wanted if isinstance(wanted, list) else [wanted]
    if not values or any(isinstance(value, bool) or not isinstance(value, str | int | float) for value in values):
        raise InputError(f"{where}: {keyword} must be a text, a number or a list of these, got {wanted!r}")
    if isinstance(wanted, str):
        try:
            re.compile(wanted)
        except re.error as error:
            raise InputError(f"{where}: {keyword} is not a regular expression: {error}") from error


@only_our_warnings()
def select(header: Dataset, rules: Sequence[Rule]) -> Rule | None:
    """The first rule that a series fulfils, None if there is none.

    Args:
        header: of one of its files.
        rules: in their order.
    """
    for rule in rules:
        if all(matches(header, keyword, wanted) for keyword, wanted in rule.conditions.items()):
            return rule
    return None


def matches(header: Dataset, keyword: str, wanted: Any) -> bool:
    """Whether an element fulfils a condition; one that is missing, empty or unreadable fulfils none.

    Args:
        header: of one of the series' files.
        keyword: DICOM's name of the element.
        wanted: for text, a regular expression found anywhere in it, in any case, or a list of words that are all among
            its values ("!word": not among them); for numbers, the number, ``[least, most]``, ``[number, ">="]`` (also
            >, <, <=, !=) or a regular expression for the whole of it; for ImageOrientationPatient the plane "Axial",
            "Coronal" or "Sagittal".
    """
    if keyword == "ImageOrientationPatient":
        return readable(header, keyword) is not None and acquisition_plane(header) == str(wanted).lower()
    found = readable(header, keyword)
    values = list(found) if isinstance(found, MultiValue) else [found]
    if found is None or found == "" or not values:
        return False
    if all(isinstance(value, int | float) for value in values):
        return _number_matches(float(values[0]), str(values[0]), wanted)
    texts = [str(value).lower() for value in values]
    if isinstance(wanted, list):
        words = [str(word).lower() for word in wanted]
        return all((word[1:] not in texts) if word.startswith("!") else word in texts for word in words)
    return any(re.search(str(wanted), str(value), re.IGNORECASE) for value in values)


def _number_matches(found: float, text: str, wanted: Any) -> bool:
    if isinstance(wanted, str):
        return re.fullmatch(wanted, text) is not None
    if not isinstance(wanted, list):
        return found == float(wanted)
    if len(wanted) == 2 and not isinstance(wanted[0], str):
        if wanted[1] in _COMPARE:
            return _COMPARE[wanted[1]](found, float(wanted[0]))
        if not isinstance(wanted[1], str):
            return float(wanted[0]) <= found <= float(wanted[1])
    return text in map(str, wanted)
