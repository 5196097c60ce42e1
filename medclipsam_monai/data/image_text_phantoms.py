"""Phantoms as image-text pairs, so that fine-tuning runs offline on what is shipped. A phantom is a case."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medclipsam_monai.data.image_text import Pair
from medclipsam_monai.data.phantoms import TARGETS, TASKS, Phantom, make_phantom
from medclipsam_monai.data.phantoms.captions import say_absent, say_detail, say_present

PREFIX = "phantom:"
FIRST_SEED = 3_000_000
"""Where the default pairs start: the demo weights were trained under 1,000,000 and are measured from 2,000,000 on."""


def phantom_pairs(count: int, first_seed: int = FIRST_SEED) -> list[Pair]:
    """Pairs of drawn pictures, the tasks taking turns.

    Args:
        count: number of pairs.
        first_seed: seed of the first phantom of each task.
    """
    keys = [(TASKS[n % len(TASKS)], first_seed + n // len(TASKS)) for n in range(count)]
    return [Pair(f"{PREFIX}{task}/{seed}", _draw(task, seed)[1], f"{task}/{seed}") for task, seed in keys]


def phantom_picture(name: str) -> Tensor:
    """The picture (1, 256, 256) uint8 of a pair's image name."""
    task, seed = name.removeprefix(PREFIX).split("/")
    return torch.from_numpy(_draw(task, int(seed))[0])


@functools.lru_cache(maxsize=4096)
def _draw(task: str, seed: int) -> tuple[NDArray[np.uint8], str]:
    """Picture and caption; kept, as the caption cannot be had without drawing."""
    phantom = make_phantom(task, seed, captions=0)
    rng = np.random.default_rng((TASKS.index(task), seed))
    return np.round(phantom.image[None] * 255).astype(np.uint8), _report(phantom, rng)


def _report(phantom: Phantom, rng: np.random.Generator) -> str:
    """All there is on a phantom, with size and side, and all that is not.

    A caption that says less fits many other phantoms, and retrieval would mean little.
    """
    said = []
    for name, target in phantom.findings.items():
        details = [word for word in (target.kind, target.size, target.side) if f"{name}/{word}" in phantom.facts]
        said += [say_detail(name, word, phantom.task, rng).text for word in details if word] or [
            say_present(name, phantom.task, rng).text
        ]
    absent = [name for name in TARGETS[phantom.task] if name not in phantom.findings]
    said += [say_absent(name, phantom.task, rng).text for name in absent]
    return ". ".join(said)
