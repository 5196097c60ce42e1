"""Tables in Markdown, for the generated pages."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

_ENTRY = re.compile(r"^(\w+): (.+?)(?=^\w+: |\Z)", re.DOTALL | re.MULTILINE)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a bar in a cell is escaped, a line break is a space."""
    lines = [head, ["---"] * len(head), *([cell(one) for one in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> str:
    """Text that stays in its cell."""
    return " ".join(text.split()).replace("|", "\\|")


def code(value: Any) -> str:
    """A value as JSON would have it, between backticks; nothing for none."""
    if value is None or value == "":
        return ""
    words = {True: "true", False: "false"}
    return f"`{words[value] if isinstance(value, bool) else value}`"


def entries(documented: Any) -> dict[str, str]:
    """What the docstring of a class says of each of its arguments or attributes."""
    found: dict[str, str] = {}
    for title in ("Args", "Attributes"):
        _, _, rest = (inspect.getdoc(documented) or "").partition(f"\n{title}:\n")
        section = inspect.cleandoc(re.split(r"^\S", rest, maxsplit=1, flags=re.MULTILINE)[0])
        found |= {name: " ".join(text.split()) for name, text in _ENTRY.findall(section)}
    return found
