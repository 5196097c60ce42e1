"""What else befalls a run of ``medclipsam segment``: a full disk, a folder that goes away, a clock that is set.

    python -m tools.robustness.mishaps                   # 20 full disks, 6 removed folders, 6 clocks
    python -m tools.robustness.mishaps --disks 200 --seed 7

A disk is full from one of the run's changes on, as far as it opens files and makes folders, or within a file, of which
only so many bytes can be written. Each image that fails must say so in one line, none may be left half-written, and
once there is room the same command finishes. A folder that is removed during a run is made again or missed in one
line. A clock that was set decides nothing. What comes of it is compared with clean runs, as in `kill_runs`. Needs
Linux.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from tools.robustness.counts import finish, try_kinds
from tools.robustness.kill_bench import TEXTS, Bench, Run
from tools.robustness.kill_checks import wrong_records
from tools.robustness.kill_forks import watch
from tools.robustness.kill_runs import aftermath

_ROOM = ("No space left", "File too large")


def full_from(folder: Path, change: int) -> Callable[[], None]:
    """What makes a process's disk full from its ``change``-th change in a folder on; what is there can be renamed."""

    def prepare() -> None:
        count = [0]

        def seen(event: str) -> None:
            count[0] += 1
            if count[0] >= change and event in ("open", "os.mkdir"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        watch(folder, seen)

    return prepare


def files_end_at(size: int) -> Callable[[], None]:
    """What lets a process write no more than so many bytes into a file."""

    def prepare() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return prepare


def clock_at(seconds: float, step: float) -> Callable[[], None]:
    """What sets a process's clock, and lets each look at it move it by a step, backwards too."""

    def prepare() -> None:
        now = [seconds]

        def told() -> float:
            now[0] += step
            return now[0]

        time.time = told

    return prepare


def _refused(run: Run) -> Iterator[str]:
    """What is wrong with a run on a full disk: words other than one line that says so."""
    lines = [*run.failed.values(), *([run.trouble] if run.trouble else [])]
    for line in lines:
        if "\n" in line or not any(words in line for words in _ROOM):
            yield f"full: it said {line!r}"
        if run.trouble and "InputError" not in run.trouble:
            yield f"full: it ended with {run.trouble!r}"


def one_disk(bench: Bench, folder: Path, number: int, seed: int) -> tuple[str, bool, list[str]]:
    """A full disk, over a finished run of the other text or in an empty folder; see `kill_runs.one_kill`."""
    rng = np.random.default_rng([seed, number, 5])
    first, second = TEXTS if number % 2 else TEXTS[::-1]
    change, size = int(rng.integers(1, bench.changes + 1)), int(rng.integers(0, 20_000))
    over, whole = number % 3 > 0, number % 4 < 2
    if over:
        shutil.copytree(bench.clean[first], folder)
    before = full_from(folder, change) if whole else files_end_at(size)
    run = bench.finish(bench.start(second, folder, overwrite=over, before=before))
    what = f"{second!r}, full from change {change} on" if whole else f"{second!r}, files of at most {size} bytes"
    folder.mkdir(exist_ok=True)
    hidden = [f"full: {path.name} is left over" for path in sorted(folder.glob(".*"))]
    failed = bool(run.failed or run.trouble)
    return what, failed, [*_refused(run), *hidden, *aftermath(bench, folder, second, first)]


def one_removed_folder(bench: Bench, folder: Path, number: int, seed: int) -> tuple[str, bool, list[str]]:
    """The output folder goes away while a run writes into it."""
    rng = np.random.default_rng([seed, number, 6])
    first, second = TEXTS if number % 2 else TEXTS[::-1]
    delay = float(rng.uniform(0, 0.3))
    fork = bench.start(first, folder)
    while fork.process.is_alive() and not folder.is_dir():
        time.sleep(0.001)
    time.sleep(delay)
    removed = fork.process.is_alive()
    shutil.rmtree(folder, ignore_errors=True)
    run = bench.finish(fork)
    wrong = [run.trouble] if run.trouble else []
    wrong += [f"several lines: {reason!r}" for reason in run.failed.values() if "\n" in reason]
    folder.mkdir(exist_ok=True)
    wrong += [f"removed: {what}" for what in wrong_records(folder, bench.clean)]
    what = f"{first!r}, its folder removed after {1000 * delay:.0f} ms"
    return what, removed, [*wrong, *aftermath(bench, folder, first, second)]


def one_clock(bench: Bench, folder: Path, number: int, seed: int) -> tuple[str, bool, list[str]]:
    """A clock that is years off and runs backwards, before and after a run with the right one."""
    rng = np.random.default_rng([seed, number, 7])
    first, second = TEXTS if number % 2 else TEXTS[::-1]
    seconds, step = float(rng.uniform(0, 4e9)), float(rng.choice([-3600.0, -0.5, 0.0]))
    before = clock_at(seconds, step)
    run = bench.finish(bench.start(first, folder, before=before))
    wrong = [f"clock: {run.trouble or run.failed}"] if run.trouble or len(run.done) != len(bench.images) else []
    later = bench.finish(bench.start(first, folder, before=clock_at(4e9 - seconds, step)))
    if len(later.skipped) != len(bench.images):
        wrong.append(f"clock: at another time only {later.skipped} were taken for finished")
    what = f"{first!r} with a clock at {seconds:.0f} s that moves by {step} s a look"
    return what, True, [*wrong, *aftermath(bench, folder, first, second)]


KINDS = {"full disks": one_disk, "removed folders": one_removed_folder, "clocks": one_clock}


def main(
    disks: Annotated[int, typer.Option(help="Full disks.")] = 20,
    folders: Annotated[int, typer.Option(help="Output folders that are removed.")] = 6,
    clocks: Annotated[int, typer.Option(help="Clocks that are set.")] = 6,
    seed: Annotated[int, typer.Option(help="Decides the moments.")] = 0,
    counts: Annotated[Path | None, typer.Option(help="File to add the counts to.")] = None,
) -> None:
    """Let runs meet mishaps, and count what is wrong afterwards."""
    with tempfile.TemporaryDirectory() as place:
        bench = Bench.set_up(Path(place))
        rows = try_kinds(KINDS, (disks, folders, clocks), bench, seed, Path(place))
    finish(rows, counts, mishaps=sum(row.tried for row in rows))


if __name__ == "__main__":
    typer.run(main)
