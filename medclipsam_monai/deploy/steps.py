"""What is done to one series, step by step. Each step takes a `SeriesWork` and gives it back with more in it."""

from __future__ import annotations

import logging
import math
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.base.quiet import collected
from medclipsam_monai.deploy.engines import Engine, Wish
from medclipsam_monai.deploy.report import REPORT, RunSummary, SeriesWork, Status, remove_outputs, write_report
from medclipsam_monai.deploy.series_selection import Rule
from medclipsam_monai.deploy.study import Series, without_paths
from medclipsam_monai.io import hash_files, is_finished
from medclipsam_monai.io.dicom.header import frame_count, readable
from medclipsam_monai.io.dicom_seg.overlay_pictures import legend, overlay_pictures, shown_frames
from medclipsam_monai.io.dicom_seg.secondary_capture import secondary_captures
from medclipsam_monai.io.dicom_seg.segmentation import save, segmentation_object
from medclipsam_monai.io.dicom_seg.source_frames import read_source_frames
from medclipsam_monai.io.guard import only_our_warnings

SEG_NAME = "segmentation.dcm"
_MOST_VOXELS = 2**30  # in float32 with three channels 12 GB
_log = logging.getLogger("medclipsam.deploy")

Step = Callable[[SeriesWork], SeriesWork]


@dataclass(frozen=True)
class Job:
    """What a run is about.

    Attributes:
        engine: loaded networks.
        wish: what the command asks; a rule's own text, opposites and window come first.
        output: folder for a folder a series, and the summary.
        overwrite: do again what is done.
    """

    engine: Engine
    wish: Wish
    output: Path
    overwrite: bool = False

    def request(self, rule: Rule) -> Any:
        """What the engine is asked about a series.

        Args:
            rule: the one that chose it.

        Raises:
            InputError: the engine cannot fulfil it.
        """
        wish = self.wish
        if rule.text is not None:
            wish = replace(wish, text=rule.text, opposites=rule.opposites)
        elif rule.opposites is not None:
            wish = replace(wish, opposites=rule.opposites)
        return self.engine.request(replace(wish, window=rule.window or wish.window))


def safely(step: Step) -> Step:
    """A step that turns what goes wrong into a failed series, so that the others go on; done ones pass through."""

    def run(work: SeriesWork) -> SeriesWork:
        if work.status is not Status.OPEN:
            return work
        started = time.perf_counter()
        try:
            done = step(work)
            _log.debug("%s: %s took %.2f s", work.series.name, type(step).__name__, time.perf_counter() - started)
            return done
        except InputError as error:
            return _failed(work, str(error))
        except OSError as error:
            return _failed(work, f"a file cannot be read or written: {error.strerror or type(error).__name__}")
        except (MemoryError, torch.OutOfMemoryError):
            return _failed(work, "too large for this machine's memory")
        except Exception as error:  # a fault of this program; the message may quote a header, so it is not logged
            _log.error("fault in %s:\n%s", work.series.name, "".join(traceback.format_tb(error.__traceback__)))
            return _failed(work, f"fault of the program ({type(error).__name__}); the log says where")

    return run


def _failed(work: SeriesWork, reason: str) -> SeriesWork:
    return replace(work, status=Status.FAILED, reason=without_paths(reason, work.series), found=None)


class SkipFinished:
    """Passes by what an earlier run finished with the same request, and clears away what another request left."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, work: SeriesWork) -> SeriesWork:
        """OPEN to SKIPPED, or to FAILED where the files cannot even be looked at."""
        folder = self.job.output / work.series.name
        if work.series.problem:
            remove_outputs(folder)
            raise InputError(work.series.problem)
        if not self.job.overwrite and (folder / REPORT).is_file() and self._is_finished(work):
            _log.info("%s: skipped, done before", work.series.name)
            return replace(work, status=Status.SKIPPED)
        remove_outputs(folder)
        return work

    def _is_finished(self, work: SeriesWork) -> bool:
        key = self.job.request(work.rule).key(hash_files(work.series.source.files))
        return is_finished(self.job.output / work.series.name / REPORT, key)


class Segment:
    """Reads a series and segments it."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, work: SeriesWork) -> SeriesWork:
        """Adds what was found, and what a person should know about the image."""
        check_size(work.series)
        _log.info("%s: %d files, segmenting", work.series.name, len(work.series.source.paths))
        with collected(InputWarning) as ours:
            found = self.job.engine.find(work.series.source, self.job.request(work.rule))
        if str(readable(work.series.header, "BurnedInAnnotation")).upper() == "YES":
            ours.append("text is burned into the image, and into the overlay pictures with it")
        return replace(work, found=found, warnings=tuple(without_paths(text, work.series) for text in ours))


def check_size(series: Series) -> None:
    """Refuse an image that no memory holds, before memory for it is taken.

    Raises:
        InputError: more than 2^30 voxels.
    """
    sides = [int(series.header.get(name) or 1) for name in ("Rows", "Columns")]
    voxels = math.prod([*sides, frame_count(series.header)]) * len(series.source.paths)
    if voxels > _MOST_VOXELS:
        raise InputError(f"the header promises {voxels:,} voxels; at most {_MOST_VOXELS:,} are read")


class WriteDicom:
    """Writes DICOM SEG and overlay pictures; nothing of either where nothing was found."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, work: SeriesWork) -> SeriesWork:
        """Adds the names of the files."""
        assert work.found is not None
        found, algorithm = work.found, self.job.engine.algorithm
        folder = self.job.output / work.series.name
        with only_our_warnings():
            read = found.record["input_sha256"]
            frames = read_source_frames(work.series.source.paths, found.geometry, read)
            labels = frames.stored(found.label_map)
            segmentation = segmentation_object(labels, found.names, frames.headers, algorithm)
            if segmentation is None:
                return work
            shown = shown_frames(labels, self.job.wish.pictures)
            pictures = overlay_pictures(frames.stored(found.display, shown), labels[shown], len(found.names))
            colours = f"Segmentation by text: {legend(found.names)}"
            captures = secondary_captures(pictures, frames.headers, algorithm, description=colours, frames=shown)
            files = [save(segmentation, folder / SEG_NAME)]
            files += [save(capture, folder / f"overlay_{n:03d}.dcm") for n, capture in enumerate(captures, start=1)]
        return replace(work, outputs=tuple(path.name for path in files))


class Report:
    """The last step of every series, whatever became of it."""

    def __init__(self, job: Job, summary: RunSummary) -> None:
        self.job, self.summary = job, summary

    def __call__(self, work: SeriesWork) -> SeriesWork:
        """Writes the report and adds the series to the summary."""
        if work.status is Status.OPEN:
            work = replace(work, status=Status.DONE)
        if work.status is not Status.SKIPPED:
            try:
                if work.status is Status.FAILED:
                    remove_outputs(self.job.output / work.series.name)  # what the failed step had written
                write_report(work, self.job.output)
            except InputError as error:
                work = _failed(work, str(error))
                _log.error("%s: failed: %s", work.series.name, work.reason)
        self.summary.finished.append(replace(work, found=None))
        return work


def steps(job: Job, summary: RunSummary) -> dict[str, Step]:
    """All steps by name, in their order."""
    return {
        "skip_finished": safely(SkipFinished(job)),
        "segment": safely(Segment(job)),
        "write_dicom": safely(WriteDicom(job)),
        "report": Report(job, summary),
    }
