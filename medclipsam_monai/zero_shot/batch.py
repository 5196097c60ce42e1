"""Many files, one request: what ``medclipsam segment`` does."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError, plain_reason
from medclipsam_monai.base.files import check_writable
from medclipsam_monai.base.interrupts import stop_if_interrupted
from medclipsam_monai.base.windows import WindowLike
from medclipsam_monai.io import ImageSource
from medclipsam_monai.io.dicom_seg.algorithm import require_highdicom
from medclipsam_monai.io.inputs.discovery import search_inputs
from medclipsam_monai.io.inputs.sources import Found
from medclipsam_monai.io.outputs import Replace, clear_interrupted
from medclipsam_monai.prompts import OppositesLike, TextLike
from medclipsam_monai.zero_shot.many.background import in_background
from medclipsam_monai.zero_shot.many.stages import Job, Stages, Written, one_by_one
from medclipsam_monai.zero_shot.one_image.steps import ImageSteps, notes
from medclipsam_monai.zero_shot.output_files import OutputFiles
from medclipsam_monai.zero_shot.segmentation import Request
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

Notify = Callable[[str, str], None]


@dataclass
class BatchSummary:
    """What became of a batch.

    Attributes:
        done: inputs segmented now.
        skipped: inputs that an earlier run, or another process, had finished with the same request.
        failed: inputs that cannot be used, each with the reason.
        left_out: files among the inputs that are no images to segment, each with the reason.
    """

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    @property
    def line(self) -> str:
        """For people, such as "2 done, 0 skipped, 1 failed"."""
        counts = f"{len(self.done)} done, {len(self.skipped)} skipped, {len(self.failed)} failed"
        return f"{counts}, {len(self.left_out)} left out" if self.left_out else counts


def segment_files(
    segmenter: TextSegmenter,
    inputs: Sequence[str | Path] | Found,
    text: TextLike | None,
    output: str | Path,
    opposites: OppositesLike | None = None,
    window: WindowLike | None = None,
    slice_axis: str = "acquired",
    files: OutputFiles | None = None,
    overwrite: bool = False,
    replace_own: bool = False,
    protected: Iterable[Path] = (),
    progress: bool = False,
    debug: bool = False,
    notify: Notify = lambda kind, message: None,
    batch: int = 1,
) -> BatchSummary:
    """Segment files, folders and globs; what cannot be used is named and the rest goes on.

    Of several images the next ones are read and those before are written while the networks are busy.

    Without ``overwrite`` nothing is replaced but this package's own unchanged outputs of the same request for the same
    image, and an image whose outputs would replace more fails before it is segmented. Inputs are never replaced.

    Args:
        segmenter: loaded networks, perhaps with examples.
        inputs: files, folders and globs, or what `search_inputs` found behind them.
        text: see `parse_targets`; None where the segmenter has examples that say it all.
        output: folder for masks, pictures and records.
        opposites: see `parse_targets`.
        window: see `DisplayRange`.
        slice_axis: "acquired", "axial", "coronal" or "sagittal".
        files: what is written besides masks and records; None for the picture of each mask. With a DICOM SEG asked
            for, an image that is not DICOM fails.
        overwrite: do again what is done, and replace what is in the way.
        replace_own: replace this package's own unchanged outputs of other requests and images, and nothing else.
        protected: further files that are never replaced.
        progress: show a bar over the slices of a volume.
        debug: print the traceback of an unexpected error.
        notify: called with a kind and a line: "done", "skipped" or "failed" once for each input, "note" and "warning"
            for what a person should know about one or about a text, "waiting" where another process works on it.
        batch: pictures that are read before they go through the networks, those of one size together: faster, and
            rounded otherwise than each by itself.

    Raises:
        InputError: for a text that is none, an output folder that cannot be written, DICOM SEG without highdicom, or a
            batch below 1, before anything is done.
    """
    if batch < 1:
        raise InputError(f"batch must be 1 or more, got {batch}")
    files = files or OutputFiles()
    if files.dicom_seg:
        require_highdicom()
    may_replace = Replace.EVERYTHING if overwrite else Replace.OWN if replace_own else Replace.SAME_REQUEST
    request = segmenter.request(text, opposites, window, slice_axis, **files.values)
    for line in request.warnings:
        notify("warning", line)
    check_writable(output)
    clear_interrupted(Path(output))
    kept = frozenset(path.resolve() for path in protected)
    steps = ImageSteps(request, files, may_replace, kept)
    stages = Stages(segmenter, steps, Path(output), progress)
    return _Batch(stages, batch, debug, notify).run(inputs)


@dataclass
class _Batch:
    """One run over many images."""

    stages: Stages
    batch: int
    debug: bool
    notify: Notify
    summary: BatchSummary = field(default_factory=BatchSummary)
    total: int = 0

    @property
    def request(self) -> Request:
        """What is asked of each image."""
        return self.stages.steps.request

    def run(self, inputs: Sequence[str | Path] | Found) -> BatchSummary:
        """Segments all; an image that another process works on is left to the end."""
        sources = self._usable(inputs)
        self.total = len(sources) + len(self.summary.failed)
        files = frozenset(path.resolve() for source in sources for path in source.files)
        steps = self.stages.steps
        self.stages = replace(self.stages, steps=replace(steps, kept=steps.kept | files))
        in_use = []
        with closing(self._through(sources)) as jobs:
            for job in jobs:
                if job.state == "in use":
                    in_use.append(job.source)
                self._tell(job)
        for source in in_use:  # one at a time: who waits for a lock must hold no other
            self.notify("waiting", f"{source.label}: another process works on it")
            self._tell(one_by_one(self.stages, source, wait=True))
            stop_if_interrupted()
        return self.summary

    def _through(self, sources: list[ImageSource]) -> Generator[Job, None, None]:
        """The images through all stages, in their order."""
        if len(sources) > 1:
            yield from in_background(self.stages, sources, self.batch)
        else:
            yield from (one_by_one(self.stages, source) for source in sources)
        stop_if_interrupted()

    def _tell(self, job: Job) -> None:
        """Count an image that ended, and say so."""
        label, told = job.source.label, list(dict.fromkeys(job.told))
        if job.state == "skipped":
            self.summary.skipped.append(label)
            self.notify("skipped", self._numbered(label))
        elif job.written is not None:
            self._done(label, job.written)
        for line in told:
            self.notify("note", line)
        if job.error is not None:
            if self.debug and not isinstance(job.error, InputError):
                traceback.print_exception(job.error)
            self._failed(label, plain_reason(job.error))

    def _done(self, label: str, written: Written) -> None:
        self.summary.done.append(label)
        found, concerns = describe(written.record, self.request.parameters["presence_threshold"])
        took = f"{written.seconds:.1f} s"
        self.notify("done", self._numbered(f"{label}: {'; '.join(found)}; {written.mask} ({took})"))
        for concern in [*self.request.picture_warnings(written.picture), *concerns]:
            self.notify("warning", f"{label}: {concern}")

    def _failed(self, label: str, reason: str) -> None:
        line = reason if label in reason else f"{label}: {reason}"
        self.summary.failed.append((label, line))
        self.notify("failed", self._numbered(line))

    def _left_out(self, files: Iterable[tuple[str, str]]) -> None:
        """Name the files among the inputs that are no images to segment, with the reason."""
        for name, reason in files:
            self.summary.left_out.append((name, reason))
            self.notify("left out", f"{name} ({reason})")

    def _numbered(self, line: str) -> str:
        """How many of how many, where there are several."""
        summary = self.summary
        count = len(summary.done) + len(summary.skipped) + len(summary.failed)
        return f"[{count}/{self.total}] {line}" if self.total > 1 else line

    def _usable(self, inputs: Sequence[str | Path] | Found) -> list[ImageSource]:
        """The images behind the inputs; what is no image, and an input without any, is named."""
        with notes("inputs", self.notify):
            found = inputs if isinstance(inputs, Found) else search_inputs(inputs)
        for label, reason in found.failed:
            self._failed(label, reason)
        self._left_out((str(one.path), one.reason) for one in found.left_out)
        return list(found.sources)


def describe(record: Mapping[str, Any], presence_threshold: float) -> tuple[list[str], list[str]]:
    """What was found, a part for each class, and what a person should look at before using it.

    Args:
        record: see `build_record`.
        presence_threshold: a class with a presence below it was left empty.
    """
    found, concerns = [], []
    for entry in record["classes"]:
        name, presence, agreement = entry["name"], entry["presence"], entry["agreement"]
        if presence is not None and presence < presence_threshold:
            found.append(f"{name} absent (presence {presence:.2f}; --always makes a mask all the same)")
        elif not entry["pixels"]:
            found.append(f"{name} not found, its mask is empty")
        else:
            where = f" in {entry['slices']['words']}" if "slices" in entry else ""
            found.append(f"{name} {entry['fraction']:.1%} of the image{where}, agreement {agreement:.2f}")
            if agreement == 0:
                concerns.append(
                    f"the mask of {name} does not touch what was lit up for it; look at it before you use it"
                )
    return found, concerns
