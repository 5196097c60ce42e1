"""A study from its request to rows.csv, report.md and a strip of pictures a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import track

from medclipsam_monai.base.files import write_text
from medclipsam_monai.io import write_picture
from medclipsam_monai.study.cases import Case
from medclipsam_monai.study.report import report, strip, telling_rows
from medclipsam_monai.study.request import StudyRequest
from medclipsam_monai.study.rivals.few_shot import FewShot, shown_settings
from medclipsam_monai.study.rivals.shots import EXAMPLE_PHANTOMS
from medclipsam_monai.study.runner import Row, StudyRunner
from medclipsam_monai.study.table import StudyTable, as_csv, read_rows
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter


def run_study(request: StudyRequest, segmenter: TextSegmenter, progress: bool = False) -> str:
    """Score every case in every way that is not scored yet, then write the tables and pictures.

    Args:
        request: images, what to vary, and where to.
        segmenter: whose networks and parameters are used.
        progress: whether to draw a progress bar on stderr.

    Returns:
        The text of report.md.

    Raises:
        InputError: a mistake in the request or the preset, a file of a case that cannot be used, or an output folder
            of another study.
    """
    request.check()
    cases = request.cases()
    few_shot = FewShot.of(request.shots, cases, request.output / EXAMPLE_PHANTOMS, segmenter.network.encoder.device)
    runner = StudyRunner(segmenter.network, segmenter.preset, request.plan, request.prompts, few_shot)
    settings = {
        "table": request.table,
        "plan": asdict(request.plan),
        "prompts": dict(request.prompts),
        "weights": segmenter.weights,
        "parameters": segmenter.preset.parameters,
        "tasks": segmenter.preset.tasks,
        **shown_settings(request.plan.few_shot, few_shot),
    }
    done = StudyTable(request.output, settings)
    todo = [case for case in cases if case not in done]
    for case in track(todo, "scoring", console=Console(stderr=True)) if progress else todo:
        done.add(case, runner.rows(case))
    rows = done.rows(cases)
    write_text(request.output / "rows.csv", as_csv(asdict(row) for row in rows))
    text = report(rows, read_rows(request.choose_by) if request.choose_by else [])
    write_text(request.output / "report.md", text)
    _write_strips(runner, rows, cases, request.output)
    return text


def _write_strips(runner: StudyRunner, rows: Sequence[Row], cases: Sequence[Case], output: Path) -> None:
    by_name = {(case.task, case.name): case for case in cases}
    for task, chosen in telling_rows(rows).items():
        picture = strip(
            chosen, lambda r: runner.masks(by_name[r.task, r.image], r.saliency, r.coarse, r.prompt, r.text)
        )
        write_picture(picture, output / f"{task}.png")
