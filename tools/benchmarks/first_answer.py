"""How long the first answer of a started label server takes, with and without the request that it makes to itself.

    python -m tools.benchmarks.first_answer            # half a minute on two idle cores

Each of the two is a process of its own, so that nothing is imported or loaded before. What a viewer waits for is the
time from "listens" to "answered"; the ratio of the two is what a machine's speed does not change. Needs the environment
of the label app, see scripts/label.sh.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from medclipsam_monai.phantoms.samples import sample_pictures

WARM, COLD = "warm", "cold"


def seconds(way: str, folder: Path, preset: str) -> dict[str, float]:
    """Wall time of the start and of the first two answers, in a process of their own."""
    words = [sys.executable, "-m", "tools.benchmarks.first_answer", "--preset", preset, "--measure", way]
    shown = subprocess.run([*words, "--folder", str(folder)], check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(shown.splitlines()[-1])
    return found


def measure(way: str, folder: Path, preset: str) -> dict[str, float]:
    """What `seconds` asks for, in this process."""
    start = time.perf_counter()
    from medclipsam_monai.label.models import ServedModels
    from medclipsam_monai.label.tasks.text_task import TextSegmentation
    from medclipsam_monai.label.warm import warm_up

    task = TextSegmentation(ServedModels(folder, "cpu"), preset=preset)
    if way == WARM:
        warm_up(task)
    times = {"start": time.perf_counter() - start}
    picture = str(next(iter(sample_pictures().values())))
    for name in ("first", "second"):
        start = time.perf_counter()
        task({"image": picture, "text": "lungs", "result_extension": ".nrrd"})
        times[name] = time.perf_counter() - start
    return times


def main(
    preset: Annotated[str, typer.Option(help="Weights and parameters.")] = "demo",
    way: Annotated[str, typer.Option("--measure", hidden=True)] = "",
    folder: Annotated[Path, typer.Option(hidden=True)] = Path(),
) -> None:
    """Print the two ways as a table, and their ratio."""
    if way:
        print(json.dumps(measure(way, folder, preset)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        found = {one: seconds(one, Path(temporary) / one, preset) for one in (COLD, WARM)}
    print("| | start | first answer | the same again |\n|---|---|---|---|")
    for one, times in found.items():
        print(f"| {one} | {times['start']:.2f} s | {times['first']:.2f} s | {times['second']:.2f} s |")
    print(f"\nthe first answer takes {found[WARM]['first'] / found[COLD]['first']:.0%} of what it took")


if __name__ == "__main__":
    typer.run(main)
