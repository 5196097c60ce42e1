"""Unique identifiers of DICOM: which are valid, and so hold nothing but digits and dots."""

from __future__ import annotations

import re
from typing import Any

_DIGITS = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST = 64


def valid_uid(value: Any) -> str:
    """A UID of digits and dots, at most 64 of them (PS3.5 9.1); empty where the value is none.

    Leading zeros in a part are against the standard, written by some scanners, and understood by every archive.
    """
    text = "" if value is None else str(value).strip("\0 ")
    return text if len(text) <= _LONGEST and _DIGITS.fullmatch(text) else ""
