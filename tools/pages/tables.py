"""Tables in Markdown, for the generated pages."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
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


def entries(name: str) -> dict[str, str]:
    """What the docstring of a class, as "module:class", says of each of its arguments or attributes.

    The module is read and not imported: that would bring a framework along.
    """
    module, _, wanted = name.partition(":")
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    (found_class,) = [one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == wanted]
    text = ast.get_docstring(found_class) or ""
    found: dict[str, str] = {}
    for title in ("Args", "Attributes"):
        _, _, rest = text.partition(f"\n{title}:\n")
        section = inspect.cleandoc(re.split(r"^\S", rest, maxsplit=1, flags=re.MULTILINE)[0])
        found |= {name: " ".join(text.split()) for name, text in _ENTRY.findall(section)}
    return found
