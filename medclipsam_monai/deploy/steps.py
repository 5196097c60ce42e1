"""What is done to one series, step by step. Each step takes a `Case` and gives it back with more in it."""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydicom.dataset import Dataset

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.base.quiet import collected
from medclipsam_monai.deploy.engines import Engine, Wish
from medclipsam_monai.deploy.report import REPORT, Case, Status, Summary, remove_outputs, write_report
from medclipsam_monai.deploy.series_selection import Selection
from medclipsam_monai.deploy.study import Series, without_paths
from medclipsam_monai.io import hash_files, is_finished
from medclipsam_monai.io.dicom.header import read_header
from medclipsam_monai.io.dicom_seg.secondary_capture import secondary_captures
from medclipsam_monai.io.dicom_seg.seg_writer import segmentation_object
from medclipsam_monai.io.dicom_seg.stored_frames import frame_order, legend, overlay_frames, shown_frames, to_frames
from medclipsam_monai.io.guard import only_our_warnings

SEG_NAME = "segmentation.dcm"
_MOST_VOXELS = 2**30  # in float32 with three channels 12 GB
_log = logging.getLogger("medclipsam.deploy")

Step = Callable[[Case], Case]


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

    def ask(self, selection: Selection) -> Any:
        """What the engine is asked about a series.

        Args:
            selection: the rule that chose it.

        Raises:
            InputError: the engine cannot fulfil it.
        """
        wish = self.wish
        if selection.text is not None:
            wish = replace(wish, text=selection.text, opposites=selection.opposites)
        elif selection.opposites is not None:
            wish = replace(wish, opposites=selection.opposites)
        return self.engine.ask(replace(wish, window=selection.window or wish.window))


def safely(step: Step) -> Step:
    """A step that turns what goes wrong into a failed case, so that the other series go on; done cases pass through."""

    def run(case: Case) -> Case:
        if case.status is not Status.OPEN:
            return case
        try:
            return step(case)
        except InputError as error:
            return _failed(case, str(error))
        except OSError as error:
            return _failed(case, f"a file cannot be read or written: {error.strerror or type(error).__name__}")
        except (MemoryError, torch.OutOfMemoryError):
            return _failed(case, "too large for this machine's memory")
        except Exception as error:  # a fault of this program; the message may quote a header, so it is not logged
            _log.error("fault in %s:\n%s", case.series.name, "".join(traceback.format_tb(error.__traceback__)))
            return _failed(case, f"fault of the program ({type(error).__name__}); the log says where")

    return run


def _failed(case: Case, reason: str) -> Case:
    return replace(case, status=Status.FAILED, reason=without_paths(reason, case.series), found=None)


class SkipFinished:
    """Passes by what an earlier run finished with the same request, and clears away what another request left."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, case: Case) -> Case:
        """OPEN to SKIPPED, or to FAILED where the files cannot even be looked at."""
        folder = self.job.output / case.series.name
        if case.series.problem:
            remove_outputs(folder)
            raise InputError(case.series.problem)
        key = self.job.ask(case.selection).key(hash_files(case.series.source.files))
        if not self.job.overwrite and is_finished(folder / REPORT, key):
            _log.info("%s: skipped, done before", case.series.name)
            return replace(case, status=Status.SKIPPED)
        remove_outputs(folder)
        return case


class Segment:
    """Reads a series and segments it."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, case: Case) -> Case:
        """Adds what was found, and what a person should know about the image."""
        check_size(case.series)
        _log.info("%s: %d files, segmenting", case.series.name, len(case.series.source.paths))
        with collected(InputWarning) as ours:
            found = self.job.engine.find(case.series.source, self.job.ask(case.selection))
        if str(case.series.header.get("BurnedInAnnotation", "")).upper() == "YES":
            ours.append("text is burned into the image, and into the overlay pictures with it")
        return replace(case, found=found, warnings=tuple(without_paths(text, case.series) for text in ours))


def check_size(series: Series) -> None:
    """Refuse an image that no memory holds, before memory for it is taken.

    Raises:
        InputError: more than 2^30 voxels.
    """
    numbers = [int(series.header.get(name) or 1) for name in ("Rows", "Columns", "NumberOfFrames")]
    voxels = math.prod(numbers) * len(series.source.paths)
    if voxels > _MOST_VOXELS:
        raise InputError(f"the header promises {voxels:,} voxels; at most {_MOST_VOXELS:,} are read")


class WriteDicom:
    """Writes DICOM SEG and overlay pictures; nothing of either where nothing was found."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, case: Case) -> Case:
        """Adds the names of the files."""
        assert case.found is not None
        found, algorithm = case.found, self.job.engine.algorithm
        folder = self.job.output / case.series.name
        with only_our_warnings():
            headers = [read_header(path) for path in case.series.source.paths]
            order = frame_order(headers, found.geometry)
            masks = to_frames(found.masks, found.geometry, order)
            names: list[str] = []
            segmentation = segmentation_object(masks, found.names, headers, algorithm)
            if segmentation is not None:
                names.append(_save(segmentation, folder / SEG_NAME))
                frames = shown_frames(masks, self.job.wish.pictures)
                pictures = overlay_frames(to_frames(found.display, found.geometry, order), masks, frames)
                colours = f"Segmentation by text: {legend(found.names)}"
                captures = secondary_captures(pictures, headers, algorithm, description=colours, frames=frames)
                names += [_save(capture, folder / f"overlay_{n:03d}.dcm") for n, capture in enumerate(captures, 1)]
        return replace(case, outputs=tuple(names))


def _save(dataset: Dataset, path: Path) -> str:
    write_atomically(path, lambda part: dataset.save_as(part, enforce_file_format=True))
    return path.name


class Report:
    """The last step of every series, whatever became of it."""

    def __init__(self, job: Job, summary: Summary) -> None:
        self.job, self.summary = job, summary

    def __call__(self, case: Case) -> Case:
        """Writes the report and adds the case to the summary."""
        if case.status is Status.OPEN:
            case = replace(case, status=Status.DONE)
        if case.status is not Status.SKIPPED:
            try:
                if case.status is Status.FAILED:
                    remove_outputs(self.job.output / case.series.name)  # what the failed step had written
                write_report(case, self.job.output)
            except InputError as error:
                case = _failed(case, str(error))
                _log.error("%s: failed: %s", case.series.name, case.reason)
        self.summary.cases.append(replace(case, found=None))
        return case


def steps(job: Job, summary: Summary) -> dict[str, Step]:
    """All steps by name, in their order."""
    return {
        "skip_finished": safely(SkipFinished(job)),
        "segment": safely(Segment(job)),
        "write_dicom": safely(WriteDicom(job)),
        "report": Report(job, summary),
    }
