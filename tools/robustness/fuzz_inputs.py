"""Read damaged files of every kind, and sort what comes of them.

    python -m tools.robustness.fuzz_inputs                          # 1,000 mutations of each kind
    python -m tools.robustness.fuzz_inputs --kind mha --count 10000 --seed 5 --keep bad

Each file must be read as an image or be refused by one line that names it. What is read must have a finite affine, and
a small mask written for it must lie where it was drawn when other software opens it; its headers alone must state the
same geometry; and nothing may be printed or logged besides. Anything else is an offender and ends the script with exit
code 1. The files are read in a process with a fault handler, which is started again when one of them ends it. Needs
Linux.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from tools.robustness.counts import add_to
from tools.robustness.fuzz_mutations import mutate
from tools.robustness.fuzz_readers import FORK, Readers
from tools.robustness.seeds.table import SEEDS, SERIES

GOOD = ("image", "refused")
OUTCOMES = (*GOOD, "wrong", "noise", "traceback", "crash", "time-out", "memory")
"""Image: read, and its mask is in place. Refused: by one line that names the file. Wrong: read with a geometry or a
mask that is not right, or refused by words that do not help. Noise: a library's words or warnings came through. The
rest says how it ended."""


@dataclass(frozen=True)
class Result:
    """What came of one damaged file."""

    kind: str
    index: int
    outcome: str
    detail: str
    seconds: float
    memory: int
    data: bytes


def make_seeds(kind: str) -> list[bytes]:
    """The valid files of a kind, made in a process of its own: ITK's threads do not outlive a fork."""
    ours, theirs = FORK.Pipe(duplex=False)
    process = FORK.Process(target=lambda: theirs.send(list(SEEDS[kind]())))
    process.start()
    theirs.close()
    seeds: list[bytes] = ours.recv()
    process.join()
    return seeds


def fuzz(kind: str, count: int, seed: int, readers: Readers) -> Iterator[Result]:
    """Judge the valid files of a kind, which must all be read, and then ``count`` damaged ones.

    Args:
        kind: a key of `SEEDS`.
        count: how many damaged files.
        seed: with the kind and the index it decides a file's damage.
        readers: who judges.
    """
    seeds = make_seeds(kind)
    with tempfile.TemporaryDirectory() as folder:
        for index in range(-len(seeds), count):
            rng = np.random.default_rng([seed, *kind.encode(), max(index, 0)])
            whole = seeds[index % len(seeds)]
            data = whole if index < 0 else mutate(whole, kind, rng, seeds)
            path = _lay_out(kind, data, index % len(seeds), seeds, Path(folder, f"damaged.{kind}"))
            start = time.perf_counter()
            outcome, detail = readers.judge(path)
            seconds = time.perf_counter() - start
            if index < 0 and outcome == "refused":
                outcome = "wrong"
            yield Result(kind, index, outcome, detail.replace(folder, ""), seconds, readers.taken, data)


def _lay_out(kind: str, data: bytes, number: int, seeds: Sequence[bytes], path: Path) -> Path:
    """Write a damaged file; one of a series beside its other files, which are whole."""
    if kind != SERIES:
        path.write_bytes(data)
        return path
    path.mkdir(exist_ok=True)
    for index, whole in enumerate(seeds):
        (path / f"{index}.dcm").write_bytes(data if index == number else whole)
    return path


def _keep(result: Result, seed: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{result.outcome}_{seed}_{result.index}.{result.kind}"
    (folder / name).write_bytes(result.data)
    with (folder / "offenders.txt").open("a", encoding="utf-8") as file:
        file.write(f"{name}: {result.detail}\n")


@dataclass
class Tally:
    """What came of the files of one kind."""

    outcomes: Counter[str] = field(default_factory=Counter)
    damaged: int = 0
    slowest: float = 0.0
    memory: int = 0

    def add(self, result: Result) -> None:
        """Count one file."""
        self.outcomes[result.outcome] += 1
        self.damaged += result.index >= 0
        self.slowest = max(self.slowest, result.seconds)
        self.memory = max(self.memory, result.memory)


def table(tallies: dict[str, Tally]) -> Iterator[str]:
    """Markdown: a row a kind, the sums, and a line that counts the damaged files."""
    yield f"| kind | files | {' | '.join(OUTCOMES)} | slowest, s | most memory, MB |"
    yield "|---" * (len(OUTCOMES) + 4) + "|"
    for kind, tally in tallies.items():
        row = " | ".join(str(tally.outcomes[outcome]) for outcome in OUTCOMES)
        extremes = f"{tally.slowest:.1f} | {tally.memory / 1e6:.0f}"
        yield f"| .{kind} | {tally.outcomes.total()} | {row} | {extremes} |"
    yield f"{sum(tally.damaged for tally in tallies.values())} mutations, {count_bad(tallies)} offenders"


def count_bad(tallies: dict[str, Tally]) -> int:
    """Files that were neither read nor refused as they should be."""
    return sum(tally.outcomes.total() - sum(tally.outcomes[good] for good in GOOD) for tally in tallies.values())


def main(
    kind: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(SEEDS)}. Repeatable; all by default.")
    ] = None,
    count: Annotated[int, typer.Option(help="Damaged files of each kind.")] = 1000,
    seed: Annotated[int, typer.Option(help="Decides the damage.")] = 0,
    seconds: Annotated[float, typer.Option(help="Time for one file.")] = 10,
    memory: Annotated[float, typer.Option(help="Gigabytes of address space that a file may take.")] = 2,
    keep: Annotated[Path | None, typer.Option(help="Folder for the offenders.")] = None,
    counts: Annotated[Path | None, typer.Option(help="File to add the counts to.")] = None,
) -> None:
    """Read damaged files of every kind, and count what comes of them."""
    kinds: Sequence[str] = kind or list(SEEDS)
    unknown = [name for name in kinds if name not in SEEDS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(SEEDS)}", param_hint="--kind")
    tallies = {name: Tally() for name in kinds}
    readers = Readers(seconds, int(memory * 2**30))
    for name in kinds:
        for result in fuzz(name, count, seed, readers):
            tallies[name].add(result)
            if result.outcome not in GOOD:
                print(f"{result.outcome} .{name} seed {seed} index {result.index}: {result.detail}", file=sys.stderr)
                if keep:
                    _keep(result, seed, keep)
    readers.close()
    print("\n".join(table(tallies)))
    found = sum((tally.outcomes for tally in tallies.values()), Counter[str]())
    ended = found["crash"] + found["time-out"] + found["memory"]
    other = found["wrong"] + found["noise"]
    mutations = sum(tally.damaged for tally in tallies.values())
    add_to(counts, mutations=mutations, tracebacks=found["traceback"], crashes=ended, wrong=other)
    if count_bad(tallies):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
