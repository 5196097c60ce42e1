"""Runs of ``medclipsam segment`` that are forks of one process with its networks loaded, and are killed where asked."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
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
