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

import gzip
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import nibabel as nib
import numpy as np
import torch
import typer
from PIL import Image

from medclipsam_monai.phantoms.samples import sample_pictures
from medclipsam_monai.zero_shot.batch import segment_files
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

TEXTS = ("lungs", "heart")
_FORK = multiprocessing.get_context("fork")
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.link", "os.symlink")
_SECONDS = 300  # for one run; a lock that nobody gives back ends here


@dataclass(frozen=True)
class Run:
    """How a run ended.

    Attributes:
        ended: it came to its end.
        changes: how many times it opened a file for writing, renamed or removed one in the output folder.
        done: names of the images that it segmented.
        skipped: names of those that it took for finished.
        failed: those it could not do, by name, with the reason.
        trouble: the last line of an exception that no user should see.
    """

    ended: bool
    changes: int = 0
    done: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    trouble: str = ""


@dataclass(frozen=True)
class Kill:
    """When a run is killed: at its ``change``-th change in the output folder, or ``after`` it, in seconds."""

    change: int
    after: float | None = None


@dataclass
class Bench:
    """A loaded segmenter, images, and the folders of clean runs by text."""

    segmenter: TextSegmenter
    images: list[Path]
    clean: dict[str, Path] = field(default_factory=dict)
    changes: int = 0

    @classmethod
    def set_up(cls, folder: Path) -> Bench:
        """Load the demo weights, write two pictures and a NIfTI slice, and run each text in a folder of its own."""
        torch.set_num_threads(1)  # threads do not outlive a fork
        inputs = folder / "images"
        inputs.mkdir(parents=True)
        chest = [path for name, path in sample_pictures().items() if name.startswith("xray")]
        images = [Path(shutil.copy(path, inputs)) for path in chest[:2]]
        with Image.open(chest[0]) as picture:
            slice_ = np.asarray(picture.convert("L")).T[:, ::-1, None].astype(np.int16)
        nib.save(nib.Nifti1Image(slice_, np.diag([-1.5, -1.5, 2.0, 1])), inputs / "slice.nii.gz")
        bench = cls(TextSegmenter.from_preset("demo", device="cpu"), [*images, inputs / "slice.nii.gz"])
        for text in TEXTS:
            bench.clean[text] = folder / f"clean {text}"
            run = bench.run(text, bench.clean[text])
            if len(run.done) != len(bench.images):
                raise RuntimeError(f"a run without any kill ended with {run}")
            bench.changes = run.changes
        return bench

    def run(self, text: str, output: Path, overwrite: bool = False, kill: Kill | None = None) -> Run:
        """One run, in a process of its own, to its end or to its kill."""
        return self.finish(*self.start(text, output, overwrite, kill), kill)

    def start(
        self, text: str, output: Path, overwrite: bool = False, kill: Kill | None = None
    ) -> tuple[Any, Connection]:
        """Start a run and go on."""
        ours, theirs = _FORK.Pipe()
        process = _FORK.Process(target=_segment, args=(theirs, self, text, output, overwrite, kill), daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def finish(self, process: Any, pipe: Connection, kill: Kill | None = None) -> Run:
        """Wait for a run that was started."""
        answer: Run | None = None
        try:
            while answer is None:
                if not pipe.poll(_SECONDS):
                    process.kill()
                    answer = Run(False, trouble=f"it was not finished after {_SECONDS} s")
                    break
                message = pipe.recv()
                if isinstance(message, Run):
                    answer = message
                else:
                    time.sleep((kill and kill.after) or 0)
                    process.kill()
        except EOFError:
            answer = Run(False)
        process.join()
        if answer == Run(False) and process.exitcode != -signal.SIGKILL:
            return Run(False, trouble=f"it ended with code {process.exitcode}")
        return answer or Run(False)


def _watch_changes(folder: Path, pipe: Connection, kill: Kill | None) -> list[int]:
    """Count this process's changes in a folder, and end it at one of them; the count is the list's only element."""
    count, inside = [0], f"{folder}{os.sep}"

    def look(event: str, values: tuple[Any, ...]) -> None:
        if event == "open":
            _, mode, flags = values
            writes = any(letter in (mode or "") for letter in "wax+") or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))
        else:
            writes = event in _CHANGES
        if not writes or not isinstance(values[0], str | os.PathLike) or not str(values[0]).startswith(inside):
            return
        count[0] += 1
        if kill and count[0] == kill.change:
            if kill.after is None:
                os.kill(os.getpid(), signal.SIGKILL)
            pipe.send("now")

    sys.addaudithook(look)
    return count


def _segment(pipe: Connection, bench: Bench, text: str, output: Path, overwrite: bool, kill: Kill | None) -> None:
    """The child: what ``medclipsam segment`` does once its networks are loaded."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    changes = _watch_changes(output, pipe, kill)
    try:
        summary = segment_files(bench.segmenter, bench.images, text, output, overwrite=overwrite)
    except BaseException:
        pipe.send(Run(True, changes[0], trouble=traceback.format_exc().strip().splitlines()[-1]))
        os._exit(1)
    names = [tuple(Path(label).name for label in labels) for labels in (summary.done, summary.skipped)]
    failed = {Path(label).name: reason for label, reason in summary.failed}
    pipe.send(Run(True, changes[0], names[0], names[1], failed))
    os._exit(0)


def _stem(image: str) -> str:
    return image.removesuffix(".nii.gz").removesuffix(".png")


def _content(path: Path) -> bytes:
    """A file's bytes, unpacked: a gzip file holds the time at which it was written."""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def _output_names(record: dict[str, Any]) -> list[str]:
    return list(record["outputs"])  # names, or names with their hashes


def _wrong_hashes(record: dict[str, Any], folder: Path) -> list[str]:
    outputs = record["outputs"]
    hashes = outputs.items() if isinstance(outputs, dict) else ()
    return [name for name, sha in hashes if hashlib.sha256((folder / name).read_bytes()).hexdigest() != sha]


def wrong_records(folder: Path, clean: dict[str, Path]) -> Iterator[str]:
    """What is wrong with the records that are there: each must be whole, and stand beside the files of its own text."""
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            (text,) = record["texts"]
        except (ValueError, KeyError):
            yield f"{path.name} is damaged"
            continue
        right = json.loads((clean[text] / path.name).read_text(encoding="utf-8"))
        if record["request"] != right["request"] or _output_names(record) != _output_names(right):
            yield f"{path.name} is not what a clean run of {text!r} writes"
        for name in _output_names(record):
            if not (folder / name).is_file():
                yield f"{path.name} names {name}, which is not there"
            elif _content(folder / name) != _content(clean[text] / name):
                yield f"{path.name} says {text!r}, and {name} is of another text"
        if all((folder / name).is_file() for name in _output_names(record)):
            yield from (f"{path.name} has not the hash of {name}" for name in _wrong_hashes(record, folder))


def wrong_answers(run: Run, text: str, folder: Path, clean: dict[str, Path]) -> Iterator[str]:
    """What is wrong with what a run says it did: done and skipped is its own text, failed is a whole result of another.

    Args:
        run: one that came to its end.
        text: what it was asked.
        folder: where it wrote, with nothing else at work there.
        clean: see `Bench`.
    """
    if run.trouble:
        yield f"a run of {text!r}: {run.trouble}"
        return
    for name in (*run.done, *run.skipped, *run.failed):
        path = folder / f"{_stem(name)}.json"
        said = "done" if name in run.done else "skipped" if name in run.skipped else "failed"
        if not path.is_file():
            yield f"{name} is {said} for {text!r} and has no record ({run.failed.get(name, '')})"
            continue
        is_own = text in json.loads(path.read_text(encoding="utf-8"))["texts"]
        if is_own != (said != "failed"):
            yield f"{name} is {said} for {text!r}, its record is of {'this' if is_own else 'another'} text"
        if "\n" in run.failed.get(name, ""):
            yield f"{name} failed with several lines: {run.failed[name]!r}"


def leftovers(folder: Path, clean: Path) -> Iterator[str]:
    """Files that a clean run does not leave, hidden ones too, and those that are missing."""
    here, right = ({path.name for path in place.iterdir()} for place in (folder, clean))
    yield from (f"{name} is left over" for name in sorted(here - right))
    yield from (f"{name} is missing" for name in sorted(right - here))


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
    command = [sys.executable, "-c", program, *words, "--device", "cpu"]
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
    runs = [bench.finish(*one), bench.finish(*other)]
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
) -> None:
    """Kill runs half-way and let two share a folder, and count what is wrong afterwards."""
    counts = dict(zip(KINDS, (kills, commands, pairs), strict=True))
    lines = ["| kind | tried | killed or paired | with something wrong |", "|---|---|---|---|"]
    bad = 0
    with tempfile.TemporaryDirectory() as place:
        bench = Bench.set_up(Path(place))
        for kind, count in counts.items():
            hit = failed = 0
            for number in range(count):
                what, happened, wrong = KINDS[kind](bench, Path(place, f"{kind} {number}"), number, seed)
                hit += happened
                failed += bool(wrong)
                for line in wrong:
                    print(f"{kind} {number} ({what}): {line}", file=sys.stderr)
            lines.append(f"| {kind} | {count} | {hit} | {failed} |")
            bad += failed
    print("\n".join(lines))
    if bad:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
