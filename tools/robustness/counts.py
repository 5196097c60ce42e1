"""What trials came to: a table for people, and sums in a file for `soak`, which adds up those of many runs."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import typer

Tried = tuple[str, bool, list[str]]
"""What was done, whether it hit somebody at work, and what is wrong afterwards."""
Trial = Callable[[Path, int], Tried]
"""Of a folder for it and its number."""
Bench = TypeVar("Bench")


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


def try_kinds(
    kinds: Mapping[str, Callable[[Bench, Path, int, int], Tried]],
    counts: Sequence[int],
    bench: Bench,
    seed: int,
    place: Path,
) -> list[Row]:
    """Trials of several kinds, so many of each, that take a bench, a folder, their number and a seed."""

    def with_bench(one: Callable[[Bench, Path, int, int], Tried]) -> Trial:
        return lambda folder, number: one(bench, folder, number, seed)

    of_kinds = zip(kinds.items(), counts, strict=True)
    return [try_all(kind, with_bench(one), count, place) for (kind, one), count in of_kinds]


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


def finish(rows: Sequence[Row], path: Path | None, **counts: int) -> None:
    """Print the table and append the counts with the losses; exit code 1 where something was wrong."""
    print("\n".join(table(rows)))
    bad = sum(row.failed for row in rows)
    add_to(path, **counts, losses=bad)
    if bad:
        raise typer.Exit(1)


def sums(path: Path) -> Counter[str]:
    """The counts of a file, added up; one that is not there holds none."""
    total: Counter[str] = Counter()
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            total.update(json.loads(line))
    return total
