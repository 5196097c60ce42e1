"""One run of the application: what there is to do, the networks, the series one after the other, the summary."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import write_json
from medclipsam_monai.deploy.app import SegmentationApp
from medclipsam_monai.deploy.engines import Wish
from medclipsam_monai.deploy.load_engine import bundle_in, load_engine
from medclipsam_monai.deploy.report import SUMMARY, Case, Status, Summary
from medclipsam_monai.deploy.series_selection import EVERY_SERIES, read_rules, select
from medclipsam_monai.deploy.steps import Job
from medclipsam_monai.deploy.study import find_series
from medclipsam_monai.transforms import parse_window

MODEL_PATH = "HOLOSCAN_MODEL_PATH"
ALL_FINE, SOME_FAILED, STOPPED = 0, 3, 130
_log = logging.getLogger("medclipsam.deploy")


@dataclass(frozen=True)
class Settings:
    """What the command is given.

    Attributes:
        input: folder of DICOM files.
        output: folder for a folder a series, and the summary.
        wish: what to segment in series whose rule says nothing of it.
        bundle: folder of a bundle; None for the one at $HOLOSCAN_MODEL_PATH, else the preset alone.
        preset: name or JSON file; None for the bundle's, else "demo".
        task: one of the preset's tasks.
        rules: file of series selection rules; None for every series.
        device: "auto", "cpu", "cuda" ...
        overwrite: do again what is done.
    """

    input: Path
    output: Path
    wish: Wish = field(default_factory=Wish)
    bundle: Path | None = None
    preset: str | None = None
    task: str | None = None
    rules: Path | None = None
    device: str = "auto"
    overwrite: bool = False


def run(settings: Settings) -> int:
    """Segment the series of a folder; what cannot be used is reported and the others go on.

    Returns:
        Exit code: 0 all fine, 3 some series failed, 130 stopped before the end.

    Raises:
        InputError: the output cannot be written, there is nothing to do, or an argument is none; the summary says so.
    """
    summary, path = Summary(), settings.output / SUMMARY
    write_json(summary.content("running"), path)  # an output that cannot be written is refused before hours of work
    try:
        cases = _plan(settings, summary)
        job = _job(settings, cases)
    except InputError as error:
        write_json(summary.content("nothing done", str(error)), path)
        raise
    SegmentationApp(cases, job, summary).run()
    stopped = len(summary.cases) < len(cases)  # by a signal: the SDK ends its graph, and the process 3 s later
    write_json(summary.content("stopped" if stopped else "finished"), path)
    _log.info("%s: %s", "stopped" if stopped else "finished", summary.line)
    if stopped:
        return STOPPED
    return SOME_FAILED if summary.count(Status.FAILED) else ALL_FINE


def _plan(settings: Settings, summary: Summary) -> list[Case]:
    """The series that there are and the rules choose."""
    if settings.wish.window is not None:
        parse_window(settings.wish.window)
    selections = (EVERY_SERIES,) if settings.rules is None else read_rules(settings.rules)
    cases = []
    for series in find_series(settings.input):
        selection = EVERY_SERIES if series.problem else select(series.header, selections)
        if selection is None:
            _log.info("%s: left out, no rule chooses it", series.name)
            summary.left_out.append(series.name)
        else:
            cases.append(Case(series, selection))
    if not cases:
        raise InputError(f"no rule chooses any of the {len(summary.left_out)} series of the input folder")
    _log.info("%d series to segment, %d left out", len(cases), len(summary.left_out))
    return cases


def _job(settings: Settings, cases: list[Case]) -> Job:
    """The networks, and whether they can do what is asked."""
    bundle = settings.bundle or bundle_in(os.environ.get(MODEL_PATH))
    engine = load_engine(bundle, settings.preset, settings.task, settings.device)
    job = Job(engine, settings.wish, settings.output, settings.overwrite)
    for case in cases:
        if not case.series.problem:
            job.ask(case.selection)
    return job
