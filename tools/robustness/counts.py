"""What trials came to: a table for people, and sums in a file for `soak`, which adds up those of many runs."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

Trial = Callable[[Path, int], tuple[str, bool, list[str]]]
"""A folder for it and its number -> what was done, whether it hit somebody at work, and what is wrong afterwards."""


@dataclass
class Row:
    """Trials of one kind: how many, how many hit somebody at work, and in how many something was wrong afterwards."""

    kind: str
    tried: int = 0
    hit: int = 0
    failed: int = 0


def try_all(kind: str, trial: Trial, count: int, place: Path) -> Row:
    """Trials 0 to count - 1, each in a folder of its own; what is wrong is printed at once."""
    row = Row(kind)
    for number in range(count):
        what, hit, wrong = trial(place / f"{kind} {number}", number)
        row.tried += 1
        row.hit += hit
        row.failed += bool(wrong)
        for line in wrong:
            print(f"{kind} {number} ({what}): {line}", file=sys.stderr)
    return row


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Markdown: a row a kind."""
    yield "| kind | tried | hit | with something wrong |"
    yield "|---|---|---|---|"
    yield from (f"| {row.kind} | {row.tried} | {row.hit} | {row.failed} |" for row in rows)


def add_to(path: Path | None, **counts: int) -> None:
    """Append counts to a file, a JSON object a line; to none where there is no file."""
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(counts) + "\n")


def sums(path: Path) -> Counter[str]:
    """The counts of a file, added up; one that is not there holds none."""
    total: Counter[str] = Counter()
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            total.update(json.loads(line))
    return total
