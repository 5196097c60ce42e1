"""Kill runs of ``medclipsam segment``, and let two share a folder: no record may ever belong to another mask.

    python -m tools.robustness.kill_runs             # 40 kills, 3 kills of the command line, 20 pairs of processes
    python -m tools.robustness.kill_runs --kills 400 --seed 7

A run is killed at one of its own changes to the output folder (SIGKILL before the n-th file is opened, renamed or
removed), or a few milliseconds after it. What it left is compared with clean runs of both texts, then the first text is
asked for again, and at last the second one with --overwrite. Every record must stand beside the files of its own text,
nothing may be skipped that is not there, and nothing hidden may be left. Ends with exit code 1 if something is wrong.

The networks are loaded once, and every run is a fork of this process. Needs Linux.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from tools.robustness.counts import finish, try_kinds
from tools.robustness.kill_bench import PRESET, TEXTS, Bench
from tools.robustness.kill_checks import leftovers, wrong_answers, wrong_records
from tools.robustness.kill_forks import Kill


def aftermath(bench: Bench, folder: Path, first: str, second: str) -> Iterator[str]:
    """What is wrong in a folder that was left: as it is, after the first text's run, and after the second's."""
    yield from (f"left: {what}" for what in wrong_records(folder, bench.clean))
    again = bench.run(first, folder)
    yield from (f"again: {what}" for what in wrong_answers(again, first, folder, bench.clean))
    yield from (f"again: {what}" for what in wrong_records(folder, bench.clean))
    last = bench.run(second, folder, overwrite=True)
    yield from (f"last: {what}" for what in wrong_answers(last, second, folder, bench.clean))
    if last.ended and len(last.done) != len(bench.images):
        yield f"last: only {len(last.done)} of {len(bench.images)} images are done"
    yield from (f"last: {what}" for what in wrong_records(folder, bench.clean))
    yield from (f"last: {what}" for what in leftovers(folder, bench.clean[second]))


def _drawn_kill(changes: int, rng: np.random.Generator) -> Kill:
    """Every second time at a change, else up to 20 ms after one of the first two thirds: there is more to do then."""
    if rng.integers(2):
        return Kill(int(rng.integers(1, changes + 1)))
    return Kill(int(rng.integers(1, 2 * changes // 3 + 1)), float(rng.uniform(0, 0.02)))


def one_kill(bench: Bench, folder: Path, number: int, seed: int) -> tuple[str, bool, list[str]]:
    """A kill, by its number: over a finished run of the other text or in an empty folder, once or twice.

    Returns:
        What was done, whether a run was killed, and what is wrong afterwards.
    """
    rng = np.random.default_rng([seed, number])
    first, second = TEXTS if number % 2 else TEXTS[::-1]
    kills = [_drawn_kill(bench.changes, rng) for _ in range(2 if number % 4 == 3 else 1)]
    over = number % 3 > 0
    if over:
        shutil.copytree(bench.clean[first], folder)
    runs = [bench.run(second, folder, overwrite=over, kill=kill) for kill in kills]
    after = "" if kills[0].after is None else f" + {1000 * kills[0].after:.0f} ms"
    what = f"{second!r} {'over ' + repr(first) if over else 'alone'}, killed at change {kills[0].change}{after}"
    wrong = [run.trouble for run in runs if run.trouble]
    return what, any(not run.ended for run in runs), wrong + list(aftermath(bench, folder, first, second))


def one_command_kill(bench: Bench, folder: Path, number: int, seed: int) -> tuple[str, bool, list[str]]:
    """The same with the command line itself, killed at a moment of its own; see `one_kill`."""
    rng = np.random.default_rng([seed, number, 1])
    first, second = TEXTS if number % 2 else TEXTS[::-1]
    shutil.copytree(bench.clean[first], folder)
    program = "from medclipsam_monai.cli.main import main; main()"
    words = ["segment", *map(str, bench.images), "--text", second, "--output", str(folder), "--overwrite"]
    command = [sys.executable, "-c", program, *words, "--preset", PRESET, "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wanted, seen = int(rng.integers(1, 8)), 0
    state = _state(folder)
    while process.poll() is None and seen < wanted:
        now = _state(folder)
        seen += now != state
        state = now
    process.kill()
    process.wait()
    killed = process.returncode == -signal.SIGKILL
    what = f"command line, {second!r} over {first!r}, killed when the folder had changed {seen} times"
    return what, killed, list(aftermath(bench, folder, first, second))


def _state(folder: Path) -> set[tuple[str, int]]:
    return {(entry.name, entry.inode()) for entry in os.scandir(folder)}


def one_pair(bench: Bench, folder: Path, number: int, seed: int) -> tuple[str, bool, list[str]]:
    """Two processes with two texts on one folder at once; see `one_kill`."""
    delay = float(np.random.default_rng([seed, number, 2]).uniform(0, 0.5)) * (number % 4 > 0)
    first, second = TEXTS if number % 2 else TEXTS[::-1]
    one = bench.start(first, folder, overwrite=number % 3 == 0)
    time.sleep(delay)
    other = bench.start(second, folder, overwrite=number % 3 < 2)
    runs = [bench.finish(one), bench.finish(other)]
    wrong = [f"a process of the two: {run.trouble}" for run in runs if run.trouble]
    wrong += [f"several lines: {reason!r}" for run in runs for reason in run.failed.values() if "\n" in reason]
    answered = {name for run in runs for name in (*run.done, *run.skipped)}
    wrong += [f"{image.name} was done by neither" for image in bench.images if image.name not in answered]
    what = f"{first!r} and {second!r} at once, the second {1000 * delay:.0f} ms later"
    return what, True, wrong + list(aftermath(bench, folder, first, second))


KINDS = {"kills": one_kill, "kills of the command line": one_command_kill, "pairs": one_pair}


def main(
    kills: Annotated[int, typer.Option(help="Kills of a forked run.")] = 40,
    commands: Annotated[int, typer.Option(help="Kills of the command line itself.")] = 3,
    pairs: Annotated[int, typer.Option(help="Pairs of processes on one folder.")] = 20,
    seed: Annotated[int, typer.Option(help="Decides the moments.")] = 0,
    counts: Annotated[Path | None, typer.Option(help="File to add the counts to.")] = None,
) -> None:
    """Kill runs half-way and let two share a folder, and count what is wrong afterwards."""
    with tempfile.TemporaryDirectory() as place:
        bench = Bench.set_up(Path(place))
        rows = try_kinds(KINDS, (kills, commands, pairs), bench, seed, Path(place))
    finish(rows, counts, kills=sum(row.hit for row in rows[:2]), pairs=rows[2].tried)


if __name__ == "__main__":
    typer.run(main)
