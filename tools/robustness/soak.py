"""All of the robustness tools and property tests in turn, with a new seed each round, until the time is over.

    python -m tools.robustness.soak --minutes 60

`scripts/soak.sh` calls it. What a tool finds wrong is printed at once, and the last line counts everything: kills and
other mishaps with what was lost by them, mutations of files with their tracebacks and crashes, and runs of property
tests that failed. Ends with exit code 1 if any of these is not zero. Needs Linux and the extra archive.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from tools.robustness.counts import sums

_TOOLS = (
    ("kill_runs", "--kills", "8", "--commands", "1", "--pairs", "1"),
    ("fuzz_inputs", "--count", "40"),
    ("mishaps", "--disks", "4", "--folders", "1", "--clocks", "1"),
    ("trainings.kills", "--clip", "2", "--nnunet", "1"),
    ("archive.kills", "--kills", "2", "--together", "2", "--images", "24", "--kinds", "driver,actor"),
)
_PROPERTIES = ("tests/fuzz", "-n", "0", "-q", "-k", "properties")
_EXAMPLES = "100"
_BAD = ("losses", "tracebacks", "crashes", "wrong", "failed")


def commands(seed: int, counts: Path) -> list[list[str]]:
    """The command lines of one round."""
    python = [sys.executable, "-m"]
    tools = [
        [*python, f"tools.robustness.{name}", *words, "--seed", str(seed), "--counts", str(counts)]
        for name, *words in _TOOLS
    ]
    return [*tools, [*python, "pytest", *_PROPERTIES, f"--hypothesis-seed={seed}"]]


def run(command: list[str]) -> Counter[str]:
    """One command to its end; its output is shown where it failed."""
    environment = {**os.environ, "FUZZ_EXAMPLES": _EXAMPLES, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(f"{' '.join(command[2:])} ended with {done.returncode}:\n{done.stdout}", flush=True)
    is_test = command[2] == "pytest"
    if is_test:
        return Counter(properties=1, failed=int(done.returncode != 0))
    return Counter(broken=int(done.returncode not in (0, 1) or "Traceback (most recent call last)" in done.stdout))


def line(total: Counter[str], minutes: float, rounds: int) -> str:
    """The counts in words."""
    return (
        f"soak of {minutes:.0f} minutes, {rounds} rounds begun: {total['kills']} kills, {total['pairs']} pairs and "
        f"{total['mishaps']} mishaps, {total['losses']} losses; {total['mutations']} mutations, "
        f"{total['tracebacks']} tracebacks, {total['crashes']} crashes, {total['wrong']} otherwise wrong; "
        f"{total['properties']} runs of the properties, {total['failed']} failed; {total['broken']} tools broken"
    )


def main(
    minutes: Annotated[float, typer.Option(help="How long; what has begun is finished.")] = 60,
    seed: Annotated[int, typer.Option(help="Of the first round.")] = 1000,
) -> None:
    """Run everything in turn, and count."""
    start, rounds, total = time.monotonic(), 0, Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder, "counts.jsonl")
        while time.monotonic() - start < 60 * minutes:
            for command in commands(seed + rounds, counts):
                total += run(command)
                if time.monotonic() - start >= 60 * minutes:
                    break
            rounds += 1
        total += sums(counts)
    print(line(total, (time.monotonic() - start) / 60, rounds))
    if any(total[name] for name in (*_BAD, "broken")):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
