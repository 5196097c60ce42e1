"""The table in the papers' layout, and which lines of it were not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from medclipsam_monai.study.paper.lines import UNTRAINED, Line, Untrained
from medclipsam_monai.study.paper.published import ALL, PUBLISHED, SOURCE, TASKS, Score
from medclipsam_monai.study.paper.request import AS_PUBLISHED
from medclipsam_monai.study.paper.scores import level_of
from medclipsam_monai.study.report import markdown
from medclipsam_monai.study.rivals.shots import Shots
from medclipsam_monai.study.runner import Row
from medclipsam_monai.study.summary import Means, means

GROUPS = ("zero-shot", "few-shot", "weakly supervised", "fully supervised", "not in the papers")


def paper_report(
    table: str,
    text: str,
    lines: Sequence[Line],
    rows: Mapping[Line, Sequence[Row]],
    reasons: Mapping[Line, str],
    shots: Shots | None = None,
) -> str:
    """The table as Markdown.

    Args:
        table: whose images were segmented.
        text: the level that was asked with, one of `medclipsam_monai.study.paper.request.TEXTS`.
        lines: those that this command runs, in their order.
        rows: of the lines that were run.
        reasons: why others were not, in one line each.
        shots: the examples that some were shown.
    """
    every: list[Line | Untrained] = [*lines, *UNTRAINED]
    ordered = [line for group in GROUPS for line in every if line.group == group]
    here = {line: _measured(found) for line, found in rows.items()}
    body = [_cells(line, {} if isinstance(line, Untrained) else here.get(line, {})) for line in ordered]
    parts = [
        "# The papers' main table",
        f"DSC / NSD at 2 pixels in %. *Published*: figures of {SOURCE}, on the papers' own images "
        f"({', '.join(f'{task.heading} {task.images:,}' for task in TASKS.values())}); not measured here. "
        f"*Here*: the mean over the images of {table} that show the target (how many).",
        _texts(text),
        "SaLIP and SAMAug are run on the networks that stand beside them, which need not be the papers'; the one "
        "published figure of SAMAug stands beside each of its four ways."
        + (f" Few-shot methods are shown {shots.count} of {shots.source} for each task." if shots else ""),
        markdown(_header(), body),
        "## Not run",
        "\n".join(f"- {_name(line)}: {_reason(line, reasons)}" for line in ordered if line not in here),
    ]
    return "\n\n".join(parts) + "\n"


def _header() -> list[str]:
    columns = [*(task.heading for task in TASKS.values()), ALL]
    return ["", "method", "networks", *(f"{name}, {whose}" for name in columns for whose in ("published", "here"))]


def _texts(text: str) -> str:
    """Which prompts were asked with, and with which the published figures were got."""
    used = ", ".join(f"{task.heading} {level_of(text, name)}" for name, task in TASKS.items())
    theirs = ", ".join(f"{task.heading} {task.text}" for task in TASKS.values())
    if text == AS_PUBLISHED:
        return f"Prompts: this package's of the papers' levels, {used}. P3 names each image's finding."
    return (
        f"Prompts: {text} in every task. MedCLIP-SAMv2's published zero-shot figures are of its best level a task: "
        f"{theirs}, where P3 names each image's finding; `--text {AS_PUBLISHED}` asks with those."
    )


def _measured(rows: Sequence[Row]) -> dict[str, Means]:
    return {one.condition.task: one for one in means(rows)}


def _cells(line: Line | Untrained, here: Mapping[str, Means]) -> list[str]:
    published = PUBLISHED.get(line.published, {})
    cells = [line.group, line.method, "" if isinstance(line, Untrained) else line.networks]
    for task in TASKS:
        found = here.get(task)
        measured = f"{_said((found.dsc * 100, found.nsd * 100))} ({found.images})" if found else ""
        cells += [_said(published.get(task)), measured]
    mean = (
        (fmean(one.dsc for one in here.values()) * 100, fmean(one.nsd for one in here.values()) * 100) if here else None
    )
    return [*cells, _said(published.get(ALL)), _said(mean if len(here) == len(TASKS) else None)]


def _said(score: Score | None) -> str:
    return "" if score is None else f"{score[0]:.2f} / {score[1]:.2f}"


def _name(line: Line | Untrained) -> str:
    where = "" if isinstance(line, Untrained) else f", {line.networks}"
    return f"{line.method} ({line.group}{where})"


def _reason(line: Line | Untrained, reasons: Mapping[Line, str]) -> str:
    return line.instead if isinstance(line, Untrained) else reasons[line]
