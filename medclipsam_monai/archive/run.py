"""One run over an archive: requests, the stages, and the rows as they come."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from medclipsam_monai.archive.cluster import check_room, joined
from medclipsam_monai.archive.machines import check_cluster, check_memory_here, memory_of
from medclipsam_monai.archive.parts import TableParts, schema_of
from medclipsam_monai.archive.pipeline import Plan, run_stages
from medclipsam_monai.archive.rows import OWN, check_carried, done_row, failed_row
from medclipsam_monai.archive.sources import Item, Listed
from medclipsam_monai.archive.stages import Networks, Reading, Work, Writing, works_of
from medclipsam_monai.archive.stores.store import Store
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.windows import WindowLike
from medclipsam_monai.io.examples import Examples
from medclipsam_monai.io.limits import largest_image
from medclipsam_monai.io.outputs import Replace
from medclipsam_monai.io.records import is_whole
from medclipsam_monai.presets import Preset
from medclipsam_monai.prompts import OppositesLike, TextLike
from medclipsam_monai.weights.registry import resolve
from medclipsam_monai.zero_shot.batch import BatchSummary
from medclipsam_monai.zero_shot.one_image.steps import ImageSteps
from medclipsam_monai.zero_shot.output_files import OutputFiles
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

Notify = Callable[[str, str], None]
_MOST_ROWS, _MOST_SECONDS = 1000, 10.0  # that wait for a file of the table
_IDLE = 2  # times in a row that no image comes out, before the others are given up
_DIED = "the process that worked on it died again and again; it may be too large for this machine's memory"


@dataclass(frozen=True)
class Loader:
    """How to load the networks; the arguments of `TextSegmenter.from_preset`.

    Attributes:
        examples: what is sought as it was labelled there, see `TextSegmenter.with_examples`.
        encoder: that they are compared by.
    """

    preset: Preset
    clip: str | None = None
    sam: str | None = None
    amp: bool = False
    examples: Examples | None = None
    encoder: str | None = None

    def __call__(self, device: str) -> TextSegmenter:
        """Load them."""
        segmenter = TextSegmenter.from_preset(self.preset, device, self.clip, self.sam, amp=self.amp)
        return segmenter if self.examples is None else segmenter.with_examples(self.examples, self.encoder)

    @property
    def weights(self) -> list[str | Path]:
        """Files and folders that are loaded."""
        named = [
            self.preset.clip if self.clip is None else self.clip,
            self.preset.sam if self.sam is None else self.sam,
        ]
        return [*map(resolve, named), *([] if self.encoder is None else [Path(self.encoder)])]


@dataclass(frozen=True)
class Wish:
    """What is asked of the images; the arguments of `segment_files`.

    Attributes:
        text: None where each row says its own, or examples say it all.
    """

    text: TextLike | None
    opposites: OppositesLike | None = None
    window: WindowLike | None = None
    slice_axis: str = "acquired"
    files: OutputFiles = field(default_factory=OutputFiles)
    overwrite: bool = False
    protected: tuple[Path, ...] = ()


def archive_images(
    listed: Listed,
    loader: Loader,
    wish: Wish,
    store: Store,
    plan: Plan,
    address: str | None = None,
    notify: Notify = lambda kind, message: None,
) -> BatchSummary:
    """Segment the images of an archive; what cannot be used becomes a row, and the rest goes on.

    Args:
        listed: the images, see `list_images`.
        loader: of the networks.
        wish: what is asked where an image's row does not say another text.
        store: for masks, pictures and records, and for the table, see `TableParts`.
        plan: who does what.
        address: HOST:PORT of a Ray cluster's head; None for one of our own on this machine.
        notify: see `segment_files`.

    Raises:
        InputError: for a text that is none or is missing, weights that cannot be loaded or do not fit the memory, a
            place that cannot be written or that another run writes to, an address where no Ray is, or machines with
            other versions of this package.
    """
    check_carried(listed.columns)
    need = memory_of(loader.weights)
    if address is None:
        check_memory_here(need, plan)
    items, steps, asked, warnings = _asked(listed.items, loader, wish, _kept(listed.items, store, wish))
    store.prepare()
    with store.alone():
        run = Run(items, TableParts(store, schema_of(OWN, listed.columns)), notify)
        for line in warnings:
            notify("warning", line)
        run.refuse_what_is_none()
        works = works_of(items, asked)
        if not works:
            return run.end()
        device = "cuda" if plan.gpus else "cpu"
        reading = Reading(store, steps, largest_image())
        stages = reading, partial(_networks, loader, device, steps), Writing(store, steps)
        with joined(address, plan.processors) as ray, contextlib.closing(run):
            check_room(ray, plan.processors, plan.workers if plan.gpus else 0)
            if address is not None:
                check_cluster(ray, need, plan)
            through_all(run, works, lambda left, how: run_stages(ray, left, *stages, how), plan)
        return run.end()


def through_all(
    run: Run, works: Sequence[Work], stages: Callable[[Sequence[Work], Plan], Generator[Work, None, None]], plan: Plan
) -> None:
    """Take images through the stages; those that do not come out, as a process died, again and by themselves.

    Args:
        run: takes what comes out.
        works: the images.
        stages: see `run_stages`.
        plan: for the first time.
    """
    left, idle = works, 0
    while left and idle < _IDLE:
        with contextlib.closing(stages(left, plan)) as ended:
            run.take(ended)
        before, left = len(left), run.missing(left)
        idle = idle + 1 if len(left) == before else 0
        plan = replace(plan, batch=1, together=1)
    run.give_up(left)


def _networks(loader: Loader, device: str, steps: Sequence[ImageSteps]) -> Networks:
    return Networks(loader(device), steps)


def _kept(items: Sequence[Item], store: Store, wish: Wish) -> frozenset[Path]:
    """Files that are never replaced: inputs that lie where the outputs go, and what the wish was read from."""
    sources = [item.source for item in items if item.source is not None]
    folders = {path.parent for source in sources for path in source.paths}
    inside = {folder for folder in folders if store.holds(folder)}
    there = [source for source in sources if any(path.parent in inside for path in source.paths)]
    inputs = (path for source in there for path in source.files)
    return frozenset(path.resolve() for path in (*wish.protected, *inputs))


def _asked(
    items: Sequence[Item], loader: Loader, wish: Wish, kept: frozenset[Path]
) -> tuple[list[Item], tuple[ImageSteps, ...], list[int], list[str]]:
    """What is asked: the items, those without a source whose own text is none; the steps for each text; for each item
    the number of its own; and what a person should know of the texts.

    Raises:
        InputError: the text for all is none, or an item has no text.
    """
    segmenter = loader("cpu")
    replaced = Replace.EVERYTHING if wish.overwrite else Replace.SAME_REQUEST
    numbers: dict[tuple[str, ...], int] = {}
    refused: dict[tuple[str, ...], str] = {}
    steps: list[ImageSteps] = []
    for item in items:
        if item.texts in numbers or item.texts in refused:
            continue
        if not item.texts and wish.text is None and loader.examples is None:
            raise InputError(f"{item.path}: nothing says what to segment in it; give --text, too, or a text in its row")
        text: Any = list(item.texts) or wish.text
        try:
            request = segmenter.request(text, wish.opposites, wish.window, wish.slice_axis, **wish.files.values)
        except InputError as error:
            if not item.texts:
                raise
            refused[item.texts] = str(error)
            continue
        numbers[item.texts] = len(steps)
        steps.append(ImageSteps(request, wish.files, replaced, kept))
    usable = [
        replace(item, source=None, error=f"{item.path}: {refused[item.texts]}")
        if item.source is not None and item.texts in refused
        else item
        for item in items
    ]
    warnings = [line for step in steps for line in step.request.warnings]
    return usable, tuple(steps), [numbers.get(item.texts, -1) for item in items], warnings


class Run:
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
            if work.record is not None and is_whole(work.record) and not work.error:
                self._done(work)
            else:
                line = work.error or f"{work.source.label}: its record was damaged meanwhile"
                self._failed(work.number, line, stays=work.stands)

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

    def _failed(self, number: int, line: str, stays: bool = False) -> None:
        """An image that failed; where what is there stays, a row of it does, too."""
        self._summary.failed.append((self._items[number].path, line))
        row = failed_row(self._items[number], line)
        if stays and self._parts.has(row["name"]):
            self._ended.add(number)
        else:
            self._add(number, row)
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
