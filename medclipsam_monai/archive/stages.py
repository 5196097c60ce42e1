"""The three stages that an image of an archive goes through, each in a process of its own; no Ray here.

reading (is it done? else read it and make of it what the networks see) -> networks -> writing. What goes wrong is kept
with the image and ends there: no stage raises. A stage that is done twice, as Ray does after a process died, finds the
outputs of the first time and takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from medclipsam_monai.archive.sources import Item
from medclipsam_monai.archive.stores.store import Store
from medclipsam_monai.base.errors import InputError, plain_reason
from medclipsam_monai.io import ImageSource
from medclipsam_monai.io.limits import largest_allowed
from medclipsam_monai.io.outputs import ImageOutputs
from medclipsam_monai.io.records import read_record
from medclipsam_monai.zero_shot.one_image.reading import ShownImage, show_image
from medclipsam_monai.zero_shot.one_image.steps import ImageSteps, notes
from medclipsam_monai.zero_shot.one_image.together import answer_images

if TYPE_CHECKING:
    from medclipsam_monai.zero_shot.segmentation import Segmentation
    from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter


@dataclass(frozen=True)
class Work:
    """An image on its way.

    Attributes:
        number: of its item, from 0.
        source: the image.
        asked: number of its request.
        shown: as the networks are to see it, between reading and the networks.
        found: what they found, between them and writing.
        record: of its outputs, once they are there.
        skipped: whether they were there before.
        error: what went wrong, in one line.
        stands: whether outputs of another request stand in its way, and are to keep their row.
        notes: what a person should know about the image.
    """

    number: int
    source: ImageSource
    asked: int
    shown: ShownImage | None = None
    found: Segmentation | None = None
    record: dict[str, Any] | None = None
    skipped: bool = False
    error: str = ""
    stands: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """The first stage.

    Attributes:
        store: of the outputs.
        steps: for each request.
        most_voxels: that an image may have, see `largest_image`.
    """

    store: Store
    steps: tuple[ImageSteps, ...]
    most_voxels: int | None = None

    def __call__(self, work: Work) -> Work:
        """Find that an image is done, or read it."""
        return _guarded(work, self._read)

    def _read(self, work: Work) -> Work:
        steps = self.steps[work.asked]
        record = None
        try:
            with _outputs(self.store, steps, work.source) as place:
                record = read_record(place.record_path)
                if steps.is_done(work.source, place):
                    return replace(work, record=record, skipped=True)
        except InputError as error:
            return replace(_failed(work, error), stands=record is not None)
        parameters = steps.request.parameters
        with largest_allowed(self.most_voxels):
            return replace(work, shown=show_image(work.source, parameters["window"], parameters["slice_axis"]))


class Networks:
    """The second stage: what holds the networks.

    Args:
        segmenter: loaded networks.
        steps: for each request.
    """

    def __init__(self, segmenter: TextSegmenter, steps: Sequence[ImageSteps]) -> None:
        self._segmenter, self._steps = segmenter, tuple(steps)

    def __call__(self, works: Sequence[Work]) -> list[Work]:
        """Segment what was read; pictures of one size and one request go through the networks together."""
        done, asked = list(works), {work.asked for work in works}
        for number in sorted(asked):
            read = [(place, work.shown) for place, work in enumerate(works) if work.asked == number and work.shown]
            labels = [works[place].source.label for place, _ in read]
            request = self._steps[number].request
            answers = answer_images(self._segmenter, [shown for _, shown in read], labels, request)
            for (place, _), answer in zip(read, answers, strict=True):
                work = works[place]
                work = replace(work, shown=None, found=answer.found, notes=(*work.notes, *answer.told))
                done[place] = work if answer.error is None else _failed(work, answer.error)
        return done


@dataclass(frozen=True)
class Writing:
    """The last stage; the attributes of `Reading`."""

    store: Store
    steps: tuple[ImageSteps, ...]

    def __call__(self, work: Work) -> Work:
        """Write the outputs of an image that was segmented."""
        return work if work.found is None else _guarded(work, self._write)

    def _write(self, work: Work) -> Work:
        assert work.found is not None
        steps = self.steps[work.asked]
        with _outputs(self.store, steps, work.source) as place:
            if not steps.is_done(work.source, place):
                steps.write(work.source, work.found, place)
            return replace(work, found=None, record=read_record(place.record_path))


def _outputs(store: Store, steps: ImageSteps, source: ImageSource) -> AbstractContextManager[ImageOutputs]:
    return store.outputs(source.stem, steps.names(source))


def _guarded(work: Work, step: Callable[[Work], Work]) -> Work:
    """Do a step; an error becomes a line of the image, and what this package warns about it becomes notes."""
    told: list[str] = []
    try:
        with notes(work.source.label, lambda kind, line: told.append(line)):
            work = step(work)
    except Exception as error:
        work = _failed(work, error)
    return replace(work, notes=(*work.notes, *told))


def _failed(work: Work, error: Exception) -> Work:
    reason = plain_reason(error)
    line = reason if work.source.label in reason else f"{work.source.label}: {reason}"
    return replace(work, shown=None, found=None, error=line)


def works_of(items: Sequence[Item], asked: Sequence[int]) -> list[Work]:
    """The images among items on their way, each with the number of its request."""
    return [Work(number, item.source, asked[number]) for number, item in enumerate(items) if item.source is not None]
