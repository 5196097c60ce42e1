"""What is done to each image of many: read, answered, written; and an image on its way through that.

The outputs of an image are locked from before it is read until it is written, so that no other process segments it
meanwhile. What goes wrong ends with the image: no stage raises but for an interrupt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from medclipsam_monai.io import ImageSource
from medclipsam_monai.io.outputs import ImageOutputs, InUseError, open_outputs
from medclipsam_monai.io.records import read_record
from medclipsam_monai.networks.known_pictures import NearestPicture
from medclipsam_monai.zero_shot.one_image.reading import ShownImage, show_image
from medclipsam_monai.zero_shot.one_image.steps import ImageSteps, notes
from medclipsam_monai.zero_shot.one_image.together import answer_images
from medclipsam_monai.zero_shot.segmentation import Segmentation
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter


@dataclass(frozen=True)
class Written:
    """What is told of an image that was segmented.

    Attributes:
        mask: its file.
        record: see `build_record`.
        picture: of the kinds of pictures that the weights know.
        seconds: in the networks.
    """

    mask: Path
    record: dict[str, Any]
    picture: NearestPicture | None
    seconds: float


@dataclass(eq=False)
class Job:
    """An image on its way.

    Attributes:
        source: the image.
        state: how it ended, "in use" where another process works on it; empty while it is on its way.
        place: its outputs, whose lock is held.
        shown: as the networks are to see it, once it is read.
        found: what they found.
        written: once it is written.
        error: why it failed.
        told: what this package warns about it, a line each.
        at_end: what is done when it ends: its lock is given back.
    """

    source: ImageSource
    state: Literal["", "done", "skipped", "failed", "in use"] = ""
    place: ImageOutputs | None = None
    shown: ShownImage | None = None
    found: Segmentation | None = None
    written: Written | None = None
    error: Exception | None = None
    told: list[str] = field(default_factory=list)
    at_end: ExitStack = field(default_factory=ExitStack)

    @property
    def pixels(self) -> int:
        """Pixels or voxels of it that are in memory."""
        return 0 if self.shown is None else math.prod(self.shown.display.shape[1:])

    def end(self) -> None:
        """Give back its lock and its memory."""
        self.place = self.shown = self.found = None
        self.at_end.close()


@dataclass(frozen=True)
class Stages:
    """The stages.

    Attributes:
        segmenter: loaded networks.
        steps: what is asked of each image.
        folder: of the outputs.
        progress: show a bar over the slices of a volume.
    """

    segmenter: TextSegmenter
    steps: ImageSteps
    folder: Path
    progress: bool = False

    def read(self, job: Job, wait: bool = False) -> None:
        """Lock its outputs, and find that it is done or read it; ``wait`` for another process that works on it."""
        parameters = self.steps.request.parameters
        with _guarded(job):
            job.place = job.at_end.enter_context(open_outputs(self.folder, job.source.stem, wait))
            if self.steps.is_done(job.source, job.place):
                job.state = "skipped"
            else:
                job.shown = show_image(job.source, parameters["window"], parameters["slice_axis"])

    def answer(self, jobs: Sequence[Job]) -> None:
        """Segment images that were read; pictures of one size go through the networks together."""
        images = [job.shown for job in jobs if job.shown is not None]
        labels = [job.source.label for job in jobs]
        answers = answer_images(self.segmenter, images, labels, self.steps.request, self.progress)
        for job, answer in zip(jobs, answers, strict=True):
            job.told += answer.told
            with _guarded(job):
                if answer.error is not None:
                    raise answer.error
                job.found = answer.found

    def write(self, job: Job) -> None:
        """Write the outputs of an image that was segmented."""
        with _guarded(job):
            found, place = job.found, job.place
            assert found is not None and place is not None
            files = self.steps.write(job.source, found, place)
            record = read_record(files[-1]) or found.record({})
            job.written = Written(files[0], record, found.found.picture, found.seconds)
            job.state = "done"


def one_by_one(stages: Stages, source: ImageSource, wait: bool = False) -> Job:
    """An image through all stages; nothing else is done meanwhile. See `Stages.read` for ``wait``."""
    job = Job(source)
    try:
        stages.read(job, wait)
        if not job.state:
            stages.answer([job])
        if not job.state:
            stages.write(job)
    finally:
        job.end()
    return job


@contextmanager
def _guarded(job: Job) -> Iterator[None]:
    """A stage: an error ends the image, and what this package warns about it is kept."""
    try:
        with notes(job.source.label, lambda kind, line: job.told.append(line)):
            yield
    except InUseError:
        job.state = "in use"
    except Exception as error:
        job.state, job.error = "failed", error
    if job.state:
        job.end()
