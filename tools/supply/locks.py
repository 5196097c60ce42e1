"""The lock files of requirements/, as `uv pip compile` writes them: which versions, where, and what needs them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
LOCKS = ("core", "label", "deploy", "web", "napari", "archive")
"""What is installed with the package, its tests and its extras; docs and supply hold tools, oldest lowest bounds."""

_PIN = re.compile(r"^(?P<name>[\w.-]+)(?:\[[\w.,-]+\])?==(?P<version>[^\s;]+)(?: ; (?P<marker>.+))?$")
_VIA = re.compile(r"^ +# +(?:via )?(?P<word>[^ ].*)$")


@dataclass(frozen=True)
class Pin:
    """A version of a package in a lock.

    Attributes:
        name: as `plain` writes it.
        version: the one that is installed.
        marker: where, as an environment marker; empty for everywhere.
        needed_by: names of the packages of the lock that need it.
    """

    name: str
    version: str
    marker: str
    needed_by: tuple[str, ...]


def plain(name: str) -> str:
    """A package's name as all its spellings have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock_path(name: str) -> Path:
    """The file of a lock."""
    return REQUIREMENTS / f"{name}.txt"


def read_lock(path: Path) -> list[Pin]:
    """The pins of a lock, in its order.

    Raises:
        ValueError: a line that is neither a pin nor a comment.
    """
    pins: list[Pin] = []
    via: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if found := _PIN.match(line):
            via = []
            pins.append(Pin(plain(found["name"]), found["version"], found["marker"] or "", ()))
        elif found := _VIA.match(line):
            if found["word"] != "via" and not found["word"].startswith("-c "):
                via.append(plain(found["word"].partition(" ")[0]))
        elif line.strip():
            raise ValueError(f"{path}: expected NAME==VERSION or a comment, got {line!r}")
        if pins:
            pins[-1] = Pin(pins[-1].name, pins[-1].version, pins[-1].marker, tuple(via))
    return pins


def needed(pins: Sequence[Pin], roots: Iterable[str]) -> dict[str, set[str]]:
    """What some packages need, and what that needs: name -> names, of all that is reached; roots too."""
    needs: dict[str, set[str]] = defaultdict(set)
    for pin in pins:
        for parent in pin.needed_by:
            needs[parent].add(pin.name)
    reached: dict[str, set[str]] = {}
    waiting = [plain(name) for name in roots]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached[name] = needs[name]
            waiting += needs[name]
    return reached
