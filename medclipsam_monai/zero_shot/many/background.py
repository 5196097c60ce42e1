"""Images one after the other: the next ones are read, and those before written, while the networks are busy.

Reading and writing have a thread each; the networks stay in the thread that asks. How much is in memory, read or
waiting to be written, is bounded: a volume is neither read beside another nor beside pictures that are large together.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any

from medclipsam_monai.base.interrupts import stop_if_interrupted, tidying
from medclipsam_monai.io import ImageSource
from medclipsam_monai.zero_shot.many.stages import Job, Stages

_MOST_PIXELS = 2**24
"""Of images in memory, from which on no other one is read: 64 pictures of 512 x 512, or a volume of 64 such slices."""

_MOST_PASSED = 16  # images that need no networks, told together
_Ending = deque[tuple[Job, "Future[None] | None"]]


class InFlight:
    """The images that are on their way.

    Args:
        most: how many there may be.
    """

    def __init__(self, most: int) -> None:
        self._most, self._stopped = most, False
        self._jobs: dict[int, Job] = {}
        self._changed = threading.Condition()

    def add(self, job: Job) -> None:
        """Count an image until it ends."""
        with self._changed:
            self._jobs[id(job)] = job
        job.at_end.callback(self._leave, job)

    def _leave(self, job: Job) -> None:
        with self._changed:
            self._jobs.pop(id(job), None)
            self._changed.notify_all()

    def has_room(self) -> bool:
        """Whether another image may be read."""
        jobs = list(self._jobs.values())
        return len(jobs) < self._most and sum(job.pixels for job in jobs) < _MOST_PIXELS

    def wait_for_room(self) -> bool:
        """Wait until another image may be read; false if none is to be read any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self.has_room())
        return not self._stopped

    def stop(self) -> None:
        """No image is to be read any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def end_all(self) -> None:
        """Give back the locks of all."""
        for job in list(self._jobs.values()):
            job.end()


def in_background(stages: Stages, sources: Sequence[ImageSource], batch: int = 1) -> Iterator[Job]:
    """Take images through all stages; close it when an interrupt comes, so that no lock stays.

    Args:
        stages: what is done to each.
        sources: the images.
        batch: how many pictures are read before they go through the networks, those of one size together.

    Yields:
        The images in their order, each once it is done, skipped, failed, or found to be in use.
    """
    flight = InFlight(3 * batch + 1)  # those being read, those in the networks, those being written
    chunks = _chunks(stages, sources, flight, batch)
    reading, writing = (ThreadPoolExecutor(1, thread_name_prefix=name) for name in ("reading", "writing"))
    for_reading, for_writing = copy_context(), copy_context()  # the limit of voxels, and what is silenced
    ending: _Ending = deque()
    with tidying():
        try:
            coming = reading.submit(for_reading.run, _next, chunks)
            while (chunk := (yield from _result(coming, ending))) is not None:
                coming = reading.submit(for_reading.run, _next, chunks)
                _answer(stages, chunk)
                for job in chunk:
                    written = None if job.state else writing.submit(for_writing.run, stages.write, job)
                    ending.append((job, written))
            yield from _in_order(ending)
        finally:
            flight.stop()
            for pool in (reading, writing):
                pool.shutdown(cancel_futures=True)
            flight.end_all()


def _answer(stages: Stages, chunk: list[Job]) -> None:
    stop_if_interrupted()
    waiting = [job for job in chunk if not job.state]
    if waiting:
        stages.answer(waiting)
        stop_if_interrupted()  # a library may have made an error of it


def _result(coming: Future[list[Job] | None], ending: _Ending) -> Generator[Job, None, list[Job] | None]:
    """What was read; meanwhile those that end are yielded in their order."""
    yield from _in_order(ending, coming)
    chunk = coming.result()
    if chunk is not None and any(len(job.shown.display.shape) > 3 for job in chunk if job.shown is not None):
        yield from _in_order(ending)  # a volume takes its time
    return chunk


def _in_order(ending: _Ending, unless: Future[list[Job] | None] | None = None) -> Iterator[Job]:
    """Those that have ended in their order; the others are waited for, unless something else is done before."""
    while ending:
        job, written = ending[0]
        if written is not None:
            if unless is not None and not written.done():
                either: list[Future[Any]] = [written, unless]
                wait(either, return_when=FIRST_COMPLETED)
                if not written.done():
                    return
            written.result()
        ending.popleft()
        yield job


def _next(chunks: Iterator[list[Job]]) -> list[Job] | None:
    """The next images that were read; None where there are no more."""
    return next(chunks, None)


def _chunks(stages: Stages, sources: Sequence[ImageSource], flight: InFlight, batch: int) -> Iterator[list[Job]]:
    """Read images, as many pictures at a time as go through the networks together, if there is room for them."""
    chunk: list[Job] = []
    for source in sources:
        if chunk and not flight.has_room():
            yield chunk
            chunk = []
        if not flight.wait_for_room():
            return
        job = Job(source)
        flight.add(job)
        stages.read(job)
        chunk.append(job)
        if sum(not one.state for one in chunk) == batch or len(chunk) == max(batch, _MOST_PASSED):
            yield chunk
            chunk = []
    if chunk:
        yield chunk
