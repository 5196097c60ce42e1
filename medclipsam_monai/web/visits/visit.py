"""One visitor: the image, what was asked of it, the corrections and the answer. Nobody else sees any of it."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import ImageSource
from medclipsam_monai.io.examples import Examples, read_examples
from medclipsam_monai.io.limits import largest_allowed
from medclipsam_monai.web.uploads.intake import Taken, take, without_folder
from medclipsam_monai.web.visits.answer import Answer, Limits
from medclipsam_monai.web.visits.corrections import MOST_MARKS, Mark, checked_mark, corrected
from medclipsam_monai.web.visits.jobs import Job
from medclipsam_monai.web.visits.networks import Networks, same_known
from medclipsam_monai.web.visits.question import Question
from medclipsam_monai.web.visits.reworded import reword
from medclipsam_monai.web.visits.samples import SAMPLES
from medclipsam_monai.zero_shot.opened import OpenedImage
from medclipsam_monai.zero_shot.output_files import OutputFiles
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter
from medclipsam_monai.zero_shot.volumes.progress import Tell

_MOST_MAPS = 2**30  # bytes of a volume's saliency


class Visit:
    """A visitor's image and answers.

    Args:
        folder: the visitor's own.
        networks: of the server.
        limits: what may be sent.

    Attributes:
        token: by which a page that is loaded anew finds the visit; nobody can guess it.
        address: likewise, of its downloads: who is shown a link has no more than what it leads to.
        sources: the images of what was sent.
        chosen: which of them is open.
        notes: lines on what was left out of what was sent.
        opened: the image.
        kinds: of picture that it may be, see `NearestPicture`; empty where that is not known.
        sent: what the page showed last, by its parts.
        look: whatever the page keeps with an image; None when another one is opened.
        marks: the corrections.
        answer: to the last question.
        job: the last one.
    """

    def __init__(self, folder: Path, networks: Networks, limits: Limits | None = None) -> None:
        self.token, self.address = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.folder, self.networks, self.limits = folder, networks, limits or Limits()
        self.lock = threading.RLock()
        self.used = time.monotonic()
        self.sent: dict[Any, Any] = {}
        self._uploads = 0
        self._examples: Examples | None = None
        self._by_examples: tuple[TextSegmenter, TextSegmenter] | None = None
        self._forget()

    def _forget(self) -> None:
        self.sources: tuple[ImageSource, ...] = ()
        self.chosen = 0
        self.notes: tuple[str, ...] = ()
        self.opened: OpenedImage | None = None
        self.kinds: tuple[str, ...] = ()
        self.look: Any = None
        self.marks: list[Mark] = []
        self.answer: Answer | None = None
        self.asked: Question | None = None
        self.job: Job | None = None

    @property
    def has_examples(self) -> bool:
        return self._examples is not None

    def receive(self, files: Sequence[Path], question: Question) -> Job:
        """Take over what was sent, and open its first image."""
        return self._receive(lambda folder: take(files, folder, self.limits.upload), lambda tell: self._open(question))

    def receive_sample(self, name: str, question: Question) -> Job:
        """Open an example that comes with the package, and ask what it is an example of.

        Raises:
            InputError: there is no such example.
        """
        if name not in SAMPLES:
            raise InputError(f"there is no example {name!r}")

        def taken(folder: Path) -> Taken:
            folder.mkdir(parents=True)
            return take([SAMPLES[name].write(folder)], folder / "sample", self.limits.upload)

        return self._receive(taken, lambda tell: self._ask(question, tell))

    def choose(self, number: int, question: Question) -> Job:
        """Open another one of the images that were sent."""
        if not 0 <= number < len(self.sources):
            raise InputError(f"there are {len(self.sources)} images, got number {number + 1}")

        def work(tell: Tell) -> None:
            self.chosen, self.opened, self.answer, self.marks, self.look = number, None, None, [], None
            self._open(question)

        return self._start(work)

    def ask(self, question: Question) -> Job:
        """Ask the image that is open."""
        self._check_open()
        return self._start(lambda tell: self._ask(question, tell))

    def reopen(self, question: Question) -> Job:
        """Show the image with a question's window and cut, and ask again what was asked."""
        self._check_open()

        def work(tell: Tell) -> None:
            self._open(question)
            if self.answer is not None:
                self._ask(question, tell)

        return self._start(work)

    def mark(self, marks: Sequence[Mark]) -> Job:
        """Correct by clicks and boxes.

        Raises:
            InputError: nothing was asked yet, or a mark that cannot be.
        """
        with self.lock:
            if self.opened is None or self.answer is None or self.asked is None:
                raise InputError("there is nothing to correct yet; say first what to look for")
            if len(self.marks) + len(marks) > MOST_MARKS:
                raise InputError(f"at most {MOST_MARKS} clicks and boxes are kept; clear some")
            names, shape = self.answer.segmentation.found.names, self.opened.display.shape[1:]
            self.marks = [*self.marks, *(checked_mark(mark, shape, names) for mark in marks)]
        return self._start(self._correct)

    def unmark(self, last_only: bool) -> Job:
        """Take the last click or box back, or all of them."""
        with self.lock:
            self.marks = self.marks[:-1] if last_only else []
        return self._start(self._correct)

    def reword(self) -> Job:
        """Ask the same in other words.

        Raises:
            InputError: nothing was asked yet.
        """
        if self.answer is None or not any(one.sentences for one in self.answer.segmentation.request.targets):
            raise InputError("there is nothing to say in other words yet; say first what to look for")

        def work(tell: Tell) -> None:
            answer, opened = self.answer, self.opened
            if answer is not None and opened is not None:
                found = reword(answer.by_text, opened, answer.segmenter, tell)
                self.answer = replace(answer, reworded=found)

        return self._start(work)

    def show_examples(self, put: Callable[[Path], Path] | None, question: Question) -> Job:
        """Take labelled examples in place of words, or beside them.

        Args:
            put: puts them into a folder, and says where in it they are, see `find_examples`; None drops them.
            question: to ask with them.
        """

        def work(tell: Tell) -> None:
            self._examples = None if put is None else self._read_examples(put, question)
            self._by_examples = None
            if self.opened is not None and (self.has_examples or self.answer is not None):
                self._ask(question, tell)

        return self._start(work)

    def end(self) -> None:
        """Drop all that there is of the visitor."""
        if self.job is not None:
            self.job.cancel()
        if self.opened is not None:
            self.opened.close()
        self._forget()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, work: Callable[[Tell], object], before: Callable[[], object] = lambda: None) -> Job:
        """Begin a job; the one before it, if it still runs, is not wanted any more."""
        with self.lock:
            if self.job is not None:
                self.job.cancel()

            def limited(tell: Tell) -> None:
                with largest_allowed(self.limits.voxels), without_folder(self.folder):
                    work(tell)

            self.job = Job(limited, self.networks.turns, before)
            return self.job

    def _check_open(self) -> None:
        if not self.sources:
            raise InputError("there is no image yet; open one, or take an example")

    def _receive(self, taken: Callable[[Path], Taken], then: Callable[[Tell], object]) -> Job:
        """Take over files while others use the networks; what was open stays open where they cannot be used."""
        self._uploads += 1
        folder = self.folder / f"image_{self._uploads}"
        older = [self.folder / f"image_{number}" for number in range(1, self._uploads)]
        found: list[Taken] = []

        def work(tell: Tell) -> None:
            before = (self.sources, self.chosen, self.notes, self.opened, self.answer, self.asked, self.marks)
            self.sources, self.chosen, self.notes = found[0].sources, 0, found[0].notes
            self.opened, self.answer, self.asked, self.marks, self.look = None, None, None, [], None
            try:
                with without_folder(folder):
                    then(tell)
            finally:
                is_used = self.opened is not None
                if not is_used:
                    self.sources, self.chosen, self.notes, self.opened, self.answer, self.asked, self.marks = before
                for unused in older if is_used else [folder]:  # a newer one is perhaps on its way
                    shutil.rmtree(unused, ignore_errors=True)

        return self._start(work, lambda: found.append(taken(folder)))

    def _open(self, question: Question) -> OpenedImage:
        """The image as a question wants it shown; it is read where it is not open like that."""
        window, cut = question.checked_window(), question.slice_axis
        opened = self.opened
        if opened is None or (opened.window, opened.slice_axis) != (window, cut):
            segmenter = self.networks.segmenter(replace(question, tuning=None, always=False))
            source = self.sources[self.chosen]
            new = segmenter.open(source, window, cut, memory=self.networks.memory)
            if opened is not None and opened.slice_axis != cut:
                self.marks = []
            self.opened, self.kinds = new, _kinds(new)
            opened = new
        return opened

    def _segmenter(self, question: Question) -> TextSegmenter:
        plain = self.networks.segmenter(question)
        if self._examples is None:
            return plain
        if self._by_examples is None or self._by_examples[0] is not plain:
            made = plain.with_examples(self._examples)
            self._by_examples = (plain, same_known(made, plain))
        return self._by_examples[1]

    def _ask(self, question: Question, tell: Tell) -> None:
        start = time.perf_counter()
        self.networks.memory.made.clear()
        wordless = self.has_examples and not question.text.strip()
        targets = None if wordless else list(question.targets())
        segmenter = self._segmenter(question)
        opened = self._open(question)
        request = segmenter.request(targets, None, opened.window, opened.slice_axis, **OutputFiles().values)
        found = opened.answer(request, segmenter, tell, _kept(opened, len(request.targets)))
        names = set(found.found.names)
        self.marks = [mark for mark in self.marks if mark.name in names]
        segmentation = corrected(found, opened, self.marks, segmenter)
        made, seconds = self.networks.memory.told(), time.perf_counter() - start
        self.answer, self.asked = Answer(segmentation, found, segmenter, made, seconds), question

    def _correct(self, tell: Tell) -> None:
        answer, opened, start = self.answer, self.opened, time.perf_counter()
        if answer is None or opened is None:
            return
        self.networks.memory.made.clear()
        segmentation = corrected(answer.by_text, opened, self.marks, answer.segmenter)
        made, seconds = self.networks.memory.told(), time.perf_counter() - start
        self.answer = replace(answer, segmentation=segmentation, made=made, seconds=seconds)

    def _read_examples(self, put: Callable[[Path], Path], question: Question) -> Examples:
        folder = self.folder / "examples"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return read_examples(put(folder), question.checked_window())


def _kinds(opened: OpenedImage) -> tuple[str, ...]:
    """The kinds of picture that an image may be; of a volume its middle slice tells. What is encoded for it is kept."""
    known = opened.segmenter.network.known_pictures
    if known is None:
        return ()
    (nearest,) = known.nearest(opened.encoded(opened.slices // 2).summaries())
    return nearest.kinds if nearest.familiar else ()


def _kept(opened: OpenedImage, classes: int) -> tuple[str, ...]:
    """Maps to keep of a volume: the saliency is drawn, where it is not too large."""
    return ("saliency",) if 4 * classes * opened.display[0].numel() <= _MOST_MAPS else ()
