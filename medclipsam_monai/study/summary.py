"""What a study's rows say in numbers: means by condition, spread over wordings, what other images would choose."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, pstdev, stdev

import numpy as np

from medclipsam_monai.metrics import presence_auc
from medclipsam_monai.prompts.prompt_set import OF_A_FINDING
from medclipsam_monai.study.runner import Row

DRAW = re.compile(r"(wording|.+, draw) (\d+)")
"""The names of texts that are one of several of a kind."""


@dataclass(frozen=True, order=True)
class Condition:
    """One way to segment a task's images."""

    task: str
    saliency: str
    coarse: str
    prompt: str
    text: str


@dataclass(frozen=True)
class Means:
    """Scores of one condition over the images that show the target.

    Attributes:
        condition: which.
        images: how many.
        dsc: mean.
        dsc_deviation: standard deviation over the images, 0 for one image.
        nsd: mean.
        iou: mean.
        pointing: mean.
        presence_auc: with the images that do not show it; None where there is none, or no opposite.
        seconds: mean.
    """

    condition: Condition
    images: int
    dsc: float
    dsc_deviation: float
    nsd: float
    iou: float
    pointing: float
    presence_auc: float | None
    seconds: float


def condition_of(row: Row) -> Condition:
    """Which condition a row belongs to."""
    return Condition(row.task, row.saliency, row.coarse, row.prompt, row.text)


def means(rows: Sequence[Row]) -> list[Means]:
    """One line a condition, in the order of the rows; those without an image that shows the target are left out."""
    groups: dict[Condition, list[Row]] = defaultdict(list)
    for row in rows:
        groups[condition_of(row)].append(row)
    return [_means(condition, group) for condition, group in groups.items() if any(row.present for row in group)]


def _means(condition: Condition, rows: Sequence[Row]) -> Means:
    shown = [row for row in rows if row.present]
    dsc = [row.dsc for row in shown]
    scores, truth = [row.presence for row in rows], [row.present for row in rows]
    has_auc = len(shown) < len(rows) and not any(np.isnan(scores))
    return Means(
        condition,
        len(shown),
        fmean(dsc),
        stdev(dsc) if len(dsc) > 1 else 0.0,
        fmean(row.nsd for row in shown),
        fmean(row.iou for row in shown),
        fmean(row.pointing for row in shown),
        presence_auc(scores, truth) if has_auc else None,
        fmean(row.seconds for row in rows),
    )


@dataclass(frozen=True)
class Robustness:
    """How the DSC of one kind of text varies over its members: ten wordings, or ten sets of wordings.

    Attributes:
        condition: with the kind as its text.
        members: how many.
        dsc: mean over members and images.
        spread: standard deviation over members of their mean DSC.
        worst: the lowest mean DSC of a member.
        image_spread: mean over images of the standard deviation over members.
    """

    condition: Condition
    members: int
    dsc: float
    spread: float
    worst: float
    image_spread: float


def robustness(rows: Sequence[Row]) -> list[Robustness]:
    """One line for each kind of text that has several members, images with the target only."""
    groups: dict[Condition, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        match = DRAW.fullmatch(row.text)
        if match and row.present:
            kind = match[1].removesuffix(", draw")
            groups[Condition(row.task, row.saliency, row.coarse, row.prompt, kind)][match[2]].append(row)
    return [_robustness(condition, list(members.values())) for condition, members in groups.items()]


def _robustness(condition: Condition, members: list[list[Row]]) -> Robustness:
    each = [fmean(row.dsc for row in group) for group in members]
    by_image: dict[str, list[float]] = defaultdict(list)
    for row in (row for group in members for row in group):
        by_image[row.image].append(row.dsc)
    within = fmean(pstdev(values) for values in by_image.values())
    return Robustness(condition, len(each), fmean(each), pstdev(each), min(each), within)


@dataclass(frozen=True)
class OverTasks:
    """Means of one condition over tasks that weigh the same: its scores are means of theirs."""

    condition: Condition
    tasks: int
    dsc: float
    nsd: float
    pointing: float


@dataclass(frozen=True)
class Chosen:
    """The condition that some images choose for a task, and what it gives on others.

    Attributes:
        chosen_by: its scores on the images that chose it.
        result: its scores on the others.
        wordings: how far ten wordings of the request differ there; None where they were not run.
    """

    chosen_by: Means
    result: Means
    wordings: Robustness | None


def choose_conditions(selection: Sequence[Row], rows: Sequence[Row]) -> list[Chosen]:
    """For each task the condition with the best mean DSC on other images, with its scores on these.

    Texts that name the finding of each image (P3, P5) are no choice: they are not one request for a task.

    Args:
        selection: rows of the images that choose.
        rows: rows of the images that are reported.
    """
    here = {line.condition: line for line in means(rows)}
    spreads = {line.condition: line for line in robustness(rows)}
    best: dict[str, Means] = {}
    for line in means(selection):
        task, text = line.condition.task, line.condition.text
        eligible = line.condition in here and text not in OF_A_FINDING
        if eligible and (task not in best or line.dsc > best[task].dsc):
            best[task] = line
    return [
        Chosen(line, here[line.condition], spreads.get(replace(line.condition, text="wording")))
        for line in best.values()
    ]


def over_tasks(lines: Sequence[Means]) -> list[OverTasks]:
    """Conditions that every task has, best first."""
    tasks = {line.condition.task for line in lines}
    groups: dict[Condition, list[Means]] = defaultdict(list)
    for line in lines:
        groups[replace(line.condition, task="all")].append(line)
    found = [
        OverTasks(
            condition,
            len(group),
            fmean(line.dsc for line in group),
            fmean(line.nsd for line in group),
            fmean(line.pointing for line in group),
        )
        for condition, group in groups.items()
        if len(group) == len(tasks)
    ]
    return sorted(found, key=lambda line: -line.dsc)
