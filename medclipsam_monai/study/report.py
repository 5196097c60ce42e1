"""What a study's rows say: means by condition, how far wordings matter, presence, and pictures of some cases."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev, stdev
from typing import Any

import numpy as np

from medclipsam_monai.metrics import presence_auc
from medclipsam_monai.study.runner import Row
from medclipsam_monai.transforms import Overlay

_DRAW = re.compile(r"(wording|.+, draw) (\d+)")


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
        match = _DRAW.fullmatch(row.text)
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


def markdown(header: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; numbers with three decimals, None as nothing."""
    body = ["| " + " | ".join(map(_cell, line)) + " |" for line in lines]
    return "\n".join(["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *body])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def report(rows: Sequence[Row]) -> str:
    """The study as Markdown: all conditions, and the wordings where the study has them."""
    single = [line for line in means(rows) if not _DRAW.fullmatch(line.condition.text)]
    parts = [
        "# Study",
        "Images that show the target; presence AUC with those that do not.",
        markdown(*_means_table(single)),
    ]
    varied = robustness(rows)
    if varied:
        parts += ["## Ten wordings of one request, alone and in sets", markdown(*_robustness_table(varied))]
    return "\n\n".join(parts) + "\n"


def _means_table(lines: Sequence[Means]) -> tuple[list[str], list[list[Any]]]:
    header = ["task", "saliency", "coarse mask", "visual prompt", "text", "n", "DSC", "± sd", "NSD", "IoU"]
    header += ["pointing game", "presence AUC", "seconds"]
    return header, [
        [*_words(m.condition), m.images, m.dsc, m.dsc_deviation, m.nsd, m.iou, m.pointing, m.presence_auc, m.seconds]
        for m in lines
    ]


def _robustness_table(lines: Sequence[Robustness]) -> tuple[list[str], list[list[Any]]]:
    header = ["task", "saliency", "coarse mask", "visual prompt", "texts", "members", "mean DSC"]
    header += ["sd over members", "lowest member", "sd within an image"]
    return header, [[*_words(r.condition), r.members, r.dsc, r.spread, r.worst, r.image_spread] for r in lines]


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
