"""Phantoms segmented by text, file to file, and their scores: what the shipped weights are held to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from medclipsam_monai.phantoms import Phantom, make_phantom
from medclipsam_monai.phantoms.seeds import SAMPLES
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

PHANTOMS = 5  # of each target
TEXTS = {"benign tumour": "benign tumor", "malignant tumour": "malignant tumor"}  # others are called what they are
Pair = tuple[str, str]
"""A task and a target."""


@dataclass(frozen=True)
class Answer:
    """A phantom, the targets that were asked for, and the label map of its mask's file."""

    phantom: Phantom
    targets: tuple[str, ...]
    labels: np.ndarray


def kept(task: str, pairs: Collection[Pair]) -> list[str]:
    return [name for other, name in pairs if other == task]


def chosen_phantoms(task: str, pairs: Collection[Pair]) -> list[Phantom]:
    """The first phantoms of SAMPLES that hold every kept target of the task five times."""
    missing = dict.fromkeys(kept(task, pairs), PHANTOMS)
    chosen = []
    for seed in SAMPLES.seeds(200):
        phantom = make_phantom(task, seed, captions=0)
        useful = [name for name in phantom.masks if missing.get(name)]
        missing.update({name: missing[name] - 1 for name in useful})
        chosen += [phantom] if useful else []
    assert not any(missing.values())
    return chosen


def segmented(
    segmenter: TextSegmenter, phantoms: Iterable[Phantom], pairs: Collection[Pair], folder: Path
) -> list[Answer]:
    answers = []
    for phantom in phantoms:
        path = folder / f"{phantom.task}_{phantom.seed}.png"
        Image.fromarray((phantom.image * 255).round().astype(np.uint8)).save(path)
        targets = tuple(name for name in kept(phantom.task, pairs) if name in phantom.masks)
        files = segmenter(path, {name: TEXTS.get(name, name) for name in targets}).save(folder / "out", overlay=False)
        with Image.open(files[0]) as mask:
            answers.append(Answer(phantom, targets, np.asarray(mask)))
    return answers


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def means(
    answers: Iterable[Answer], change: Callable[[np.ndarray], np.ndarray] = lambda labels: labels
) -> dict[Pair, float]:
    """Mean DSC of each target that was asked for, over its first five phantoms."""
    scores: dict[Pair, list[float]] = {}
    for answer in answers:
        labels = change(answer.labels)
        for number, name in enumerate(answer.targets, start=1):
            found = scores.setdefault((answer.phantom.task, name), [])
            found.append(dice(labels == number, answer.phantom.masks[name]))
    return {pair: float(np.mean(values[:PHANTOMS])) for pair, values in scores.items()}
