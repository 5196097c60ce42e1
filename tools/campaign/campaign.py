"""Simulated annotation campaigns: how good a network gets by the number of labels, if they are chosen in this way.

A perfect annotator gives the true mask of each image that is asked for. The first images are chosen before any training
by the disagreement of wordings, the next ones by the entropy of what was trained so far. Choice and scores are those of
the app; what is trained is a small network, see `quick_training`, since there are dozens of trainings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_dice
from torch import Tensor, nn
from tqdm import tqdm

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.io import ImageSource, find_inputs
from medclipsam_monai.io.label_maps import find_given, read_label_map
from medclipsam_monai.label.active.disagreement import prompt_disagreement
from medclipsam_monai.label.active.embeddings import image_embedding
from medclipsam_monai.label.active.selection import CRITERIA, Criterion, pick
from medclipsam_monai.prompts import parse_targets
from medclipsam_monai.weak.nnunet.case_image import read_case_image
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter
from tools.campaign.quick_training import (
    at_size,
    mean_probability,
    quick_mask,
    quick_picture,
    train_members,
    uncertainty_scores,
)

RANDOM = "random"
STRATEGIES = (RANDOM, "most_uncertain", "mixed")


@dataclass(frozen=True)
class CampaignImage:
    """An image with its truth, and what is known of it before any training.

    Attributes:
        picture: see `quick_picture`.
        quick_mask: the truth, see `quick_mask`.
        mask: (H, W) bool, the truth at the image's own size: what is scored.
        doubt: see `prompt_disagreement`.
        embedding: see `image_embedding`.
        zero_shot: DSC of the mask by text alone.
    """

    picture: Tensor
    quick_mask: Tensor
    mask: Tensor
    doubt: float
    embedding: Tensor
    zero_shot: float


@dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
        strategy: that chose its images, one of `STRATEGIES`.
        seed: of the split, the network and all that is drawn.
        labels: how many images it was trained on.
        dsc: mean over the held-out images.
    """

    strategy: str
    seed: int
    labels: int
    dsc: float


def read_cases(images: Path, masks: Path, text: str, segmenter: TextSegmenter) -> list[CampaignImage]:
    """All pictures of a folder with their masks, matched by name.

    Args:
        images: folder of pictures.
        masks: folder of masks of one class, see `find_given`.
        text: what the masks show.
        segmenter: loaded networks.

    Raises:
        InputError: a picture without a mask, a volume, or a file that cannot be used.
    """
    sources = find_inputs([images])
    given = find_given(masks, {source.stem for source in sources})
    missing = [source.name for source in sources if source.stem not in given]
    if missing:
        raise InputError(f"{masks}: has no mask of {missing[0]} ({len(missing)} of {len(sources)} images); add them")
    bar = tqdm(sources, desc="images", disable=None)
    return [_read_case(source, given[source.stem], text, segmenter) for source in bar]


def _read_case(source: ImageSource, mask_file: Path, text: str, segmenter: TextSegmenter) -> CampaignImage:
    case = read_case_image(source, channels=1)
    if case.is_volume:
        raise InputError(f"{source.label}: is a volume; a campaign is simulated on pictures")
    mask = torch.from_numpy(read_label_map(mask_file, case.geometry, [text])).bool()
    opened = segmenter.open(source)
    return CampaignImage(
        picture=quick_picture(torch.from_numpy(case.array).float()),
        quick_mask=quick_mask(mask),
        mask=mask,
        doubt=prompt_disagreement(segmenter, opened, parse_targets(text)),
        embedding=image_embedding(opened),
        zero_shot=_dice(opened(text).label_map.bool(), mask),
    )


def _dice(pred: Tensor, truth: Tensor) -> float:
    """DSC of masks (H, W); two empty ones score 1."""
    return float(compute_dice(pred[None, None], truth[None, None], ignore_empty=False))


def split(cases: Sequence[CampaignImage], held_out: int, seed: int) -> tuple[list[CampaignImage], list[CampaignImage]]:
    """Pool and held-out cases, drawn by the seed."""
    order = np.random.default_rng(seed).permutation(len(cases))
    return [cases[place] for place in order[held_out:]], [cases[place] for place in order[:held_out]]


def run_campaign(
    pool: Sequence[CampaignImage],
    held_out: Sequence[CampaignImage],
    strategy: str,
    seed: int,
    points: Sequence[int],
    steps: int,
) -> list[Row]:
    """Choose, label, train and score, once for each number of labels.

    Args:
        pool: what may be labelled.
        held_out: what is scored.
        strategy: one of `STRATEGIES`.
        seed: see `Row`.
        points: rising numbers of labels, the last one at most the size of the pool.
        steps: of each training, see `train_members`.
    """
    criterion = _criterion(strategy, seed)
    left, labelled, rows = list(range(len(pool))), [], []  # type: list[int], list[int], list[Row]
    uncertainty = [case.doubt for case in pool]
    embeddings = torch.stack([case.embedding for case in pool])
    pictures, masks = (torch.stack([getattr(case, name) for case in pool]) for name in ("picture", "quick_mask"))
    for count in points:
        scores = [uncertainty[place] for place in left]
        chosen = pick(criterion, count - len(labelled), scores, embeddings[left], embeddings[labelled])
        labelled += [left[place] for place in chosen]
        left = [place for place in left if place not in labelled]
        members = train_members(pictures[labelled], masks[labelled], steps, seed)
        rows.append(Row(strategy, seed, count, _held_out_dsc(members, held_out)))
        uncertainty = uncertainty_scores(mean_probability(members, pictures))
    return rows


def _criterion(strategy: str, seed: int) -> Criterion:
    if strategy != RANDOM:
        return CRITERIA[strategy]
    generator = torch.Generator().manual_seed(seed)
    return lambda uncertainty, candidates, labelled: torch.rand(len(uncertainty), generator=generator)


def _held_out_dsc(members: Sequence[nn.Module], cases: Sequence[CampaignImage]) -> float:
    found = mean_probability(members, torch.stack([case.picture for case in cases]))
    return float(np.mean([_dice(at_size(p, c.mask.shape) > 0.5, c.mask) for p, c in zip(found, cases, strict=True)]))


def summarise(rows: Sequence[Row], zero_shot: float) -> dict[str, Any]:
    """Mean DSC by strategy and number of labels, and what each strategy gains over random.

    Args:
        rows: of whole campaigns, each strategy with the same seeds in the same order.
        zero_shot: DSC by text alone on the same held-out images.

    Returns:
        {"zero_shot_dsc", "dsc": {strategy: {labels: mean over seeds}}, "gain_over_random": {strategy: {"mean", "seeds":
        [mean over the numbers of labels, for each seed]}}}.
    """
    curves: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        curves.setdefault(row.strategy, {}).setdefault(row.labels, []).append(row.dsc)
    over_points = {name: np.array(list(curve.values())).mean(axis=0) for name, curve in curves.items()}
    gains = {name: over_points[name] - over_points[RANDOM] for name in curves if name != RANDOM}
    return {
        "zero_shot_dsc": zero_shot,
        "dsc": {name: {labels: float(np.mean(v)) for labels, v in curve.items()} for name, curve in curves.items()},
        "gain_over_random": {name: {"mean": float(g.mean()), "seeds": g.tolist()} for name, g in gains.items()},
    }


def draw_campaign(rows: Sequence[Row], zero_shot: float, title: str, path: Path) -> Path:
    """Plot DSC against labels as a PNG: the mean over seeds, and their range as a band.

    Raises:
        InputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    points = sorted({row.labels for row in rows})
    for strategy in dict.fromkeys(row.strategy for row in rows):
        values = np.array([[r.dsc for r in rows if (r.strategy, r.labels) == (strategy, n)] for n in points])
        (line,) = axes.plot(points, values.mean(axis=1), marker="o", label=strategy.replace("_", " "))
        axes.fill_between(points, values.min(axis=1), values.max(axis=1), color=line.get_color(), alpha=0.15)
    axes.axhline(zero_shot, color="grey", linestyle="--", label="by text, no label")
    axes.set(xlabel="labelled images", ylabel="DSC on held-out images", title=title, xticks=points)
    axes.legend()
    return write_atomically(path, lambda part: figure.savefig(part, dpi=150))
