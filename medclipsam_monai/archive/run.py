"""One run over an archive: requests, the stages, and the rows as they come."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from medclipsam_monai.archive.cluster import check_room, joined
from medclipsam_monai.archive.parts import FOLDER, TableParts, schema_of
from medclipsam_monai.archive.pipeline import Plan, run_stages
from medclipsam_monai.archive.rows import OWN, check_carried, done_row, failed_row
from medclipsam_monai.archive.sources import Item, Listed
from medclipsam_monai.archive.stages import Networks, Reading, Work, Writing, works_of
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import check_writable
from medclipsam_monai.base.interrupts import tidying
from medclipsam_monai.base.windows import WindowLike
from medclipsam_monai.io.outputs import clear_interrupted
from medclipsam_monai.presets import Preset
from medclipsam_monai.prompts import OppositesLike, TextLike
from medclipsam_monai.zero_shot.batch import BatchSummary
from medclipsam_monai.zero_shot.one_image.steps import ImageSteps
from medclipsam_monai.zero_shot.output_files import OutputFiles
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

Notify = Callable[[str, str], None]
_MOST_ROWS, _MOST_SECONDS = 1000, 10.0  # that wait for a file of the table
_DIED = "the process that worked on it died, three times; it may be too large for this machine's memory"


@dataclass(frozen=True)
class Loader:
    """How to load the networks; the arguments of `TextSegmenter.from_preset`."""

    preset: Preset
    clip: str | None = None
    sam: str | None = None
    amp: bool = False

    def __call__(self, device: str) -> TextSegmenter:
        """Load them."""
        return TextSegmenter.from_preset(self.preset, device, self.clip, self.sam, amp=self.amp)


@dataclass(frozen=True)
class Wish:
    """What is asked of the images; the arguments of `segment_files`."""

    text: TextLike | None
    opposites: OppositesLike | None = None
    window: WindowLike | None = None
    slice_axis: str = "acquired"
    files: OutputFiles = field(default_factory=OutputFiles)


def archive_images(
    listed: Listed,
    loader: Loader,
    wish: Wish,
    output: str | Path,
    plan: Plan,
    address: str | None = None,
    notify: Notify = lambda kind, message: None,
) -> BatchSummary:
    """Segment the images of an archive; what cannot be used becomes a row, and the rest goes on.

    Args:
        listed: the images, see `list_images`.
        loader: of the networks.
        wish: what is asked where an image's row does not say another text.
        output: folder for masks, pictures and records, and for the table, see `TableParts`.
        plan: who does what.
        address: HOST:PORT of a Ray cluster's head; None for one of our own on this machine.
        notify: see `segment_files`.

    Raises:
        InputError: for a text that is none or is missing, weights that cannot be loaded, an output folder that cannot
            be written or that another run writes to, or an address where no Ray is.
    """
    check_carried(listed.columns)
    folder = Path(output).absolute()
    check_writable(folder)
    clear_interrupted(folder)
    with _alone(folder / FOLDER):
        parts = TableParts(folder / FOLDER, schema_of(OWN, listed.columns))
        steps, asked = _asked(listed.items, loader, wish, notify)
        run = _Run(listed.items, parts, notify)
        run.refuse_what_is_none()
        works = works_of(listed.items, asked)
        if not works:
            return run.end()
        device = "cuda" if plan.gpus else "cpu"
        stages = Reading(folder, steps), partial(_networks, loader, device, steps), Writing(folder, steps)
        with joined(address, plan.processors) as ray, contextlib.closing(run):
            check_room(ray, plan.processors, plan.workers if plan.gpus else 0)
            run.take(run_stages(ray, works, *stages, plan))
            again = run.missing(works)
            if again:
                run.take(run_stages(ray, again, *stages, replace(plan, batch=1, together=1)))
            run.give_up(run.missing(again))
        return run.end()


def _networks(loader: Loader, device: str, steps: Sequence[ImageSteps]) -> Networks:
    return Networks(loader(device), steps)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a table.

    Raises:
        InputError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".medclipsam-archive.lock")
    with tidying():
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise InputError(f"{folder.parent}: another run of archive writes to it; wait for its end") from None
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                Path(lock.lock_file).unlink()
            lock.release()


def _asked(
    items: Sequence[Item], loader: Loader, wish: Wish, notify: Notify
) -> tuple[tuple[ImageSteps, ...], list[int]]:
    """The steps for each text that is asked for, and for each item the number of its own."""
    segmenter = loader("cpu")
    numbers: dict[tuple[str, ...], int] = {}
    steps: list[ImageSteps] = []
    for item in items:
        if item.texts in numbers:
            continue
        if not item.texts and wish.text is None:
            raise InputError(f"{item.path}: nothing says what to segment in it; give --text, too, or a text in its row")
        text: Any = list(item.texts) or wish.text
        request = segmenter.request(text, wish.opposites, wish.window, wish.slice_axis, **wish.files.values)
        for line in request.warnings:
            notify("warning", line)
        numbers[item.texts] = len(steps)
        steps.append(ImageSteps(request, wish.files))
    return tuple(steps), [numbers[item.texts] for item in items]


class _Run:
    """What became of the images so far.

    Args:
        items: all of them.
        parts: where their rows go.
        notify: see `segment_files`.
    """

    def __init__(self, items: Sequence[Item], parts: TableParts, notify: Notify) -> None:
        self._items, self._parts, self._notify = items, parts, notify
        self._summary = BatchSummary()
        self._waiting: list[dict[str, Any]] = []
        self._since = time.monotonic()
        self._ended: set[int] = set()

    def refuse_what_is_none(self) -> None:
        """Rows for what is no image."""
        for number, item in enumerate(self._items):
            if item.source is None:
                self._failed(number, item.error)

    def take(self, works: Iterator[Work]) -> None:
        """Rows for images as they come out of the stages; one that comes twice has one."""
        for work in works:
            if work.number in self._ended:
                continue
            for line in work.notes:
                self._notify("note", line)
            if work.record is not None and not work.error:
                self._done(work)
            else:
                self._failed(work.number, work.error or f"{work.source.label}: its record was damaged meanwhile")

    def missing(self, works: Sequence[Work]) -> list[Work]:
        """The images that did not come out."""
        return [work for work in works if work.number not in self._ended]

    def give_up(self, works: Sequence[Work]) -> None:
        """Rows for images that did not come out again and again."""
        for work in works:
            self._failed(work.number, f"{work.source.label}: {_DIED}")

    def close(self) -> None:
        """Write the rows that wait."""
        rows, self._waiting, self._since = self._waiting, [], time.monotonic()
        self._parts.add(rows)

    def end(self) -> BatchSummary:
        """Write what waits; what became of all."""
        self.close()
        return self._summary

    def _done(self, work: Work) -> None:
        assert work.record is not None
        label = work.source.label
        (self._summary.skipped if work.skipped else self._summary.done).append(label)
        self._add(work.number, done_row(self._items[work.number], work.record))
        self._notify("skipped" if work.skipped else "done", self._numbered(label))

    def _failed(self, number: int, line: str) -> None:
        self._summary.failed.append((self._items[number].path, line))
        self._add(number, failed_row(self._items[number], line))
        self._notify("failed", self._numbered(line))

    def _add(self, number: int, row: dict[str, Any]) -> None:
        self._ended.add(number)
        if row in self._parts:
            return
        self._waiting.append(row)
        if len(self._waiting) >= _MOST_ROWS or time.monotonic() - self._since > _MOST_SECONDS:
            self.close()

    def _numbered(self, line: str) -> str:
        return f"[{len(self._ended)}/{len(self._items)}] {line}" if len(self._items) > 1 else line
