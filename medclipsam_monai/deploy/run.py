"""One run of the application: what there is to do, the networks, the series one after the other, the summary."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import write_json
from medclipsam_monai.base.windows import parse_window
from medclipsam_monai.deploy.app import SegmentationApp
from medclipsam_monai.deploy.engines import Wish
from medclipsam_monai.deploy.load_engine import load_engine
from medclipsam_monai.deploy.report import SUMMARY, RunSummary, SeriesWork, Status
from medclipsam_monai.deploy.series_selection import EVERY_SERIES, read_rules, select
from medclipsam_monai.deploy.steps import Job
from medclipsam_monai.deploy.study import search_study

ALL_FINE, SOME_FAILED, STOPPED = 0, 3, 130
_log = logging.getLogger("medclipsam.deploy")


@dataclass(frozen=True)
class RunSettings:
    """What the command is given.

    Attributes:
        input: folder of DICOM files.
        output: folder for a folder a series, and the summary.
        wish: what to segment in series whose rule says nothing of it.
        bundle: folder of a bundle; None for the preset alone.
        preset: name or JSON file; None for the bundle's, else `DEFAULT_PRESET`.
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


def run(settings: RunSettings) -> int:
    """Segment the series of a folder; what cannot be used is reported and the others go on.

    Returns:
        Exit code: 0 all fine, 3 some series failed, 130 stopped before the end.

    Raises:
        InputError: the output cannot be written, there is nothing to do, or an argument is none; the summary says so.
    """
    summary, path = RunSummary(), settings.output / SUMMARY
    write_json(summary.content("running"), path)  # an output that cannot be written is refused before hours of work
    try:
        works = _plan(settings, summary)
        job = _job(settings, works)
    except InputError as error:
        write_json(summary.content("nothing done", str(error)), path)
        raise
    SegmentationApp(works, job, summary).run()
    stopped = len(summary.finished) < len(works)  # by a signal: the SDK ends its graph, and the process 3 s later
    write_json(summary.content("stopped" if stopped else "finished"), path)
    _log.info("%s: %s", "stopped" if stopped else "finished", summary.line)
    if stopped:
        return STOPPED
    return SOME_FAILED if summary.count(Status.FAILED) else ALL_FINE


def _plan(settings: RunSettings, summary: RunSummary) -> list[SeriesWork]:
    """The series that there are and the rules choose."""
    if settings.wish.window is not None:
        parse_window(settings.wish.window)
    rules = (EVERY_SERIES,) if settings.rules is None else read_rules(settings.rules)
    study = search_study(settings.input)
    for one in study.left_out:
        _log.info("%s: left out, %s%s", one.name, one.reason, f" ({one.files} files)" if one.files > 1 else "")
        summary.left_out.append(one)
    if not study.series:
        others = f": {len(study.left_out)} series left out" if study.left_out else ", only files of other kinds"
        raise InputError(f"the input folder holds no DICOM image to segment{others}")
    works = []
    for series in study.series:
        rule = EVERY_SERIES if series.problem else select(series.header, rules)
        if rule is None:
            _log.info("%s: left out, no rule chooses it", series.name)
            summary.not_selected.append(series.name)
        else:
            works.append(SeriesWork(series, rule))
    if not works:
        raise InputError(f"no rule chooses any of the {len(summary.not_selected)} series of the input folder")
    count = len(summary.not_selected) + len(summary.left_out)
    _log.info("%d series to segment, %d left out", len(works), count)
    return works


def _job(settings: RunSettings, works: list[SeriesWork]) -> Job:
    """The networks, and whether they can do what is asked."""
    engine = load_engine(settings.bundle, settings.preset, settings.task, settings.device)
    job = Job(engine, settings.wish, settings.output, settings.overwrite)
    for work in works:
        if not work.series.problem:
            job.request(work.rule)
    return job
