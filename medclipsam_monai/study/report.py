"""A study as tables and pictures: conditions, wordings, what other images would choose, and cases to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from medclipsam_monai.study.runner import Row
from medclipsam_monai.study.summary import (
    DRAW,
    Chosen,
    Condition,
    Means,
    Robustness,
    choose_conditions,
    condition_of,
    means,
    over_tasks,
    robustness,
)
from medclipsam_monai.transforms import Overlay


def markdown(header: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; numbers with three decimals, None as nothing."""
    body = ["| " + " | ".join(map(_cell, line)) + " |" for line in lines]
    return "\n".join(["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *body])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def report(rows: Sequence[Row], selection: Sequence[Row] = ()) -> str:
    """The study as Markdown.

    Args:
        rows: of the images that are reported.
        selection: rows of other images, by which one condition a task is chosen.
    """
    single = [line for line in means(rows) if not DRAW.fullmatch(line.condition.text)]
    parts = [
        "# Study",
        "Images that show the target; presence AUC with those that do not.",
        markdown(*_means_table(single, robustness(rows))),
    ]
    if len({line.condition.task for line in single}) > 1:
        parts += ["## All tasks, each with the same weight", markdown(*_all_table(single))]
    varied = robustness(rows)
    if varied:
        parts += ["## Ten wordings of one request, alone and in sets", markdown(*_robustness_table(varied))]
    if selection:
        chosen = choose_conditions(selection, rows)
        parts += ["## One way a task, chosen on other images", markdown(*_chosen_table(chosen))]
    return "\n\n".join(parts) + "\n"


def _means_table(lines: Sequence[Means], varied: Sequence[Robustness]) -> tuple[list[str], list[list[Any]]]:
    header = ["task", "saliency", "coarse mask", "visual prompt", "text", "n", "DSC", "± sd", "± sd over wordings"]
    header += ["NSD", "IoU", "pointing game", "presence AUC", "seconds"]
    spread = {_ways(r.condition): r.spread for r in varied if r.condition.text == "wording"}
    return header, [
        [
            *_words(m.condition),
            *(m.images, m.dsc, m.dsc_deviation, spread.get(_ways(m.condition))),
            *(m.nsd, m.iou, m.pointing, m.presence_auc, m.seconds),
        ]
        for m in lines
    ]


def _all_table(lines: Sequence[Means]) -> tuple[list[str], list[list[Any]]]:
    header = ["saliency", "coarse mask", "visual prompt", "text", "tasks", "DSC", "NSD", "pointing game"]
    return header, [
        [*_words(line.condition)[1:], line.tasks, line.dsc, line.nsd, line.pointing] for line in over_tasks(lines)
    ]


def _chosen_table(lines: Sequence[Chosen]) -> tuple[list[str], list[list[Any]]]:
    header = ["task", "saliency", "coarse mask", "visual prompt", "text", "DSC where chosen", "n", "DSC", "± sd"]
    header += ["± sd over wordings", "NSD", "presence AUC"]
    return header, [
        [
            *_words(c.result.condition),
            *(c.chosen_by.dsc, c.result.images, c.result.dsc, c.result.dsc_deviation),
            *(c.wordings.spread if c.wordings else None, c.result.nsd, c.result.presence_auc),
        ]
        for c in lines
    ]


def _robustness_table(lines: Sequence[Robustness]) -> tuple[list[str], list[list[Any]]]:
    header = ["task", "saliency", "coarse mask", "visual prompt", "texts", "members", "mean DSC"]
    header += ["sd over members", "lowest member", "sd within an image"]
    return header, [[*_words(r.condition), r.members, r.dsc, r.spread, r.worst, r.image_spread] for r in lines]


def _ways(condition: Condition) -> tuple[str, ...]:
    """A condition but for its text."""
    return (condition.task, condition.saliency, condition.coarse, condition.prompt)


def _words(condition: Condition) -> list[str]:
    return [condition.task, condition.saliency, condition.coarse, condition.prompt, condition.text]


def telling_rows(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """For each task the best, median and worst image of its best condition, among images that show the target."""
    best: dict[str, Means] = {}
    for line in means(rows):
        task = line.condition.task
        if task not in best or line.dsc > best[task].dsc:
            best[task] = line
    found = {}
    for task, line in best.items():
        group = [row for row in rows if row.present and condition_of(row) == line.condition]
        ranked = sorted(group, key=lambda row: -row.dsc)
        found[task] = [ranked[0], ranked[len(ranked) // 2], ranked[-1]]
    return found


def strip(rows: Sequence[Row], masks: Callable[[Row], tuple[Any, Any, Any]]) -> np.ndarray:
    """Cases side by side, the truth above and the result below, as a picture (H, W, 3) uint8."""
    draw, columns = Overlay(min_size=256), []
    for row in rows:
        picture, truth, found = masks(row)
        column = np.concatenate([draw(picture, mask[None]) for mask in (truth, found)])
        columns.append(column)
    height = max(column.shape[0] for column in columns)
    padded = [np.pad(c, ((0, height - c.shape[0]), (0, 8), (0, 0))) for c in columns]
    return np.concatenate(padded, axis=1)
