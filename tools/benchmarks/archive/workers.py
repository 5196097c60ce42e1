"""Two processes with networks against one, on the same cores: images a second, and what an image costs where.

    python -m tools.benchmarks.archive.workers                       # preset small, one text, two turns of each
    python -m tools.benchmarks.archive.workers --texts 6             # more for the networks to do, as much to read

`medclipsam archive` segments chest X-rays with one worker and with two of one thread each, in turns. A rate counts from
where 0.4 of the images are done, when all processes have long begun. Processor seconds an image do not depend on who
else uses the cores: with them a second table says how much two workers can win on two cores that nobody else uses,
where one worker has the second core for reading and writing. Needs Linux and the extra archive.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tools.benchmarks.archive.watched import Watched, watch
from tools.robustness.archive.bench import make_images, records

_WARM = 0.4
_TEXTS = ("lungs", "heart", "lung", "left lung", "right lung", "chest", "ribs", "spine")
_KINDS = ("networks", "readers and writers", "Ray itself", "driver")


def run(folder: Path, output: Path, workers: int, preset: str, texts: int) -> Watched:
    """One archive."""
    words = [str(folder), "-o", str(output), "--preset", preset, "--device", "cpu", "--threads", "1"]
    words += ["--workers", str(workers), "--no-overlay"]
    for text in _TEXTS[:texts]:
        words += ["-t", text]
    seen = watch([sys.executable, "-m", "medclipsam_monai", "archive", *words], partial(records, output))
    if seen.code:
        raise SystemExit("the run that is looked at failed; see above")
    return seen


def gain(each: dict[str, float], cores: int = 2) -> float:
    """How much more ``cores`` workers can do than one on as many cores, by what an image costs where.

    One worker ends at its own time an image, or where all cores are full; many end where all cores are full.
    """
    total = sum(each.get(kind, 0.0) for kind in _KINDS)
    return max(each["networks"], total / cores) / (total / cores)


def main(
    preset: Annotated[str, typer.Option(help="Whose networks.")] = "small",
    texts: Annotated[int, typer.Option(min=1, max=len(_TEXTS), help="Classes that are sought in each image.")] = 1,
    images: Annotated[int, typer.Option(min=10, help="Of a run.")] = 120,
    turns: Annotated[int, typer.Option(min=1, help="Runs of each.")] = 2,
) -> None:
    """Measure in turns, and print two tables as Markdown."""
    found: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory(prefix="m-") as name:
        folder = Path(name, "in")
        make_images(folder, images)
        for turn in range(turns):
            for workers, told in found.items():
                seen = run(folder, Path(name, f"out {turn} {workers}"), workers, preset, texts)
                told.append(seen.each(_WARM))
    print(f"| workers | images/s | {' | '.join(f'{kind}, ms' for kind in _KINDS)} |\n|{'---|' * (2 + len(_KINDS))}")
    for workers, told in found.items():
        for each in told:
            cells = " | ".join(f"{1000 * each.get(kind, 0.0):.0f}" for kind in _KINDS)
            print(f"| {workers} | {1 / each['wall']:.2f} | {cells} |")
    ratios = [one["wall"] / two["wall"] for one, two in zip(found[1], found[2], strict=True)]
    mean = {kind: statistics.mean(each.get(kind, 0.0) for told in found.values() for each in told) for kind in _KINDS}
    print(f"\nmeasured: {', '.join(f'{ratio:.2f}' for ratio in ratios)} times; by processor time {gain(mean):.2f}")


if __name__ == "__main__":
    typer.run(main)
