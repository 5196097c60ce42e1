"""Runs of ``medclipsam archive`` as processes that can be found again, whatever becomes of their parents."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from medclipsam_monai.phantoms.samples import sample_pictures

TEXT = "lungs"
MARK = "MEDCLIPSAM_KILL_BENCH"  # in the environment of a run and of all that it starts
_SECONDS = 1800  # for one run
_RAY_SAYS = re.compile(r"(\x1b\[[0-9;]*m)*\(\w+")  # "(raylet) A worker died"


@dataclass
class Command:
    """One run.

    Attributes:
        process: the driver.
        mark: what its environment and that of its Ray holds.
        told: file that gets what it prints.
        before: records that were there when it began.
    """

    process: subprocess.Popen[bytes]
    mark: str
    told: Path
    before: int

    def below(self) -> dict[int, str]:
        """All processes of the run, the driver's own among them: number -> command line."""
        return marked(self.mark)

    def wait(self) -> int:
        """Its exit code.

        Raises:
            TimeoutError: it is not finished; it was killed with all its processes.
        """
        try:
            return self.process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"it was not finished after {_SECONDS} s: {self.said}") from None

    def kill(self) -> None:
        """Kill the driver and nothing else."""
        self.process.kill()
        self.process.wait()

    @property
    def said(self) -> str:
        """The last lines that it printed."""
        return " / ".join(self._lines()[-3:])

    def _lines(self) -> list[str]:
        return self.told.read_text(encoding="utf-8", errors="replace").splitlines()

    def wrong_end(self, count: int, losses: bool = False) -> list[str]:
        """What is wrong with its end: it is to do all images that have no record yet, and no other.

        Args:
            count: of the images.
            losses: whether processes of it were killed; what these had done is found done when it is tried again.
        """
        code, told = self.wait(), self.said
        strange = [line for line in self._lines() if _RAY_SAYS.match(line)]
        found = re.search(r"(\d+) done, (\d+) skipped, 0 failed", told)
        done, skipped = map(int, found.groups()) if found else (-1, -1)
        right = done + skipped == count and (losses or skipped == self.before)
        wrong = [] if code == 0 and right else [f"ended with {code}, {self.before} of {count} were done before: {told}"]
        return [*wrong, *(f"Ray tells the person: {line}" for line in strange[:1])]


def marked(mark: str) -> dict[int, str]:
    """Processes with a mark in their environment: number -> command line; those that ended are none."""
    found, sought = {}, f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if sought in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = command_line(folder)
    return found


def command_line(process: Path) -> str:
    """Of a process, by its folder in /proc."""
    return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()


def kill_all(numbers: Mapping[int, str]) -> None:
    """Kill processes, as a machine that is switched off does."""
    for number in numbers:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue


def wait_until(what: Callable[[], object], seconds: float, every: float = 0.02) -> bool:
    """Whether something became true in time; looked at every so many seconds."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True


@dataclass
class ArchiveBench:
    """Images that are all different, and what one run that nobody disturbed makes of them.

    Attributes:
        folder: of all that the runs need and leave.
        count: of the images.
        clean: the undisturbed run's output folder.
        start_seconds: of that run, until its first record.
    """

    folder: Path
    count: int
    clean: Path = field(init=False)
    start_seconds: float = field(init=False, default=0.0)

    def set_up(self) -> ArchiveBench:
        """Make the images and do the undisturbed run.

        Raises:
            RuntimeError: that run does not come to its end.
        """
        make_images(self.folder / "images", self.count)
        self.temporary.mkdir(exist_ok=True)
        self.clean = self.folder / "clean"
        began = time.monotonic()
        run = self.start(self.clean)
        wait_until(lambda: records(self.clean) or run.process.poll() is not None, _SECONDS)
        self.start_seconds = time.monotonic() - began
        wrong = run.wrong_end(self.count)
        if wrong:
            raise RuntimeError(f"a run without any kill {wrong[0]}")
        return self

    @property
    def temporary(self) -> Path:
        """What the runs have in place of the system's folder for temporary files."""
        return self.folder.parent / "t"  # short, as the names of sockets are limited

    def start(self, output: Path, address: str | None = None) -> Command:
        """Start a run and go on: one thread a worker, as one mask must be every run's.

        Args:
            output: its folder.
            address: of a Ray to join; None for one of its own.
        """
        words = [str(self.folder / "images"), "-o", str(output), "-t", TEXT, "--preset", "demo", "--device", "cpu"]
        words += ["--threads", "1", "--no-overlay", *(["--ray", address] if address else [])]
        mark = secrets.token_hex(8)
        environment = {**os.environ, MARK: mark, "TMPDIR": str(self.temporary)}
        told, before = self.folder / f"told {mark}", records(output)
        with told.open("wb") as file:
            command = [sys.executable, "-m", "medclipsam_monai", "archive", *words]
            process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        return Command(process, mark, told, before)


def make_images(folder: Path, count: int) -> None:
    """Chest X-rays, each moved by other pixels so that no two masks are alike; every eighth is a NIfTI slice."""
    folder.mkdir(parents=True)
    with Image.open(sample_pictures()["xray_normal"]) as picture:
        pixels = np.asarray(picture.convert("L"))
    for number in range(count):
        moved = np.roll(pixels, (number // 8, number % 8), (0, 1))
        if number % 8 == 7:
            slice_ = moved.T[:, ::-1, None].astype(np.int16)
            nib.save(nib.Nifti1Image(slice_, np.diag([-1.5, -1.5, 2.0, 1])), folder / f"x{number:03}.nii.gz")
        else:
            Image.fromarray(moved).save(folder / f"x{number:03}.png")


def records(folder: Path) -> int:
    """How many records an output folder has."""
    return sum(1 for _ in folder.glob("[!.]*.json"))
