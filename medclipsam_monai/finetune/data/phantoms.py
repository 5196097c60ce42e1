"""Phantoms as image-text pairs, so that fine-tuning runs offline on what is shipped. A phantom is a case."""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medclipsam_monai.finetune.data.pairs import Pair
from medclipsam_monai.phantoms import TASKS, make_phantom
from medclipsam_monai.phantoms.seeds import FINE_TUNING

PREFIX = "phantom:"
STATEMENTS = 4
"""True statements in a phantom's caption; fewer fit too many other phantoms for retrieval to mean something."""


def phantom_pairs(count: int) -> list[Pair]:
    """Pairs of drawn pictures, the tasks taking turns.

    Args:
        count: number of pairs.

    Raises:
        InputError: more than there are.
    """
    seeds = FINE_TUNING.seeds(-(-count // len(TASKS)))
    keys = [(task, seed) for seed in seeds for task in TASKS][:count]
    return [Pair(f"{PREFIX}{task}/{seed}", _draw(task, seed)[1], f"{task}/{seed}") for task, seed in keys]


def phantom_picture(name: str) -> Tensor:
    """The picture (1, 256, 256) uint8 of a pair's image name."""
    task, seed = name.removeprefix(PREFIX).split("/")
    return torch.from_numpy(_draw(task, int(seed))[0])


@functools.lru_cache(maxsize=4096)
def _draw(task: str, seed: int) -> tuple[NDArray[np.uint8], str]:
    """Picture and caption; kept, as the caption cannot be had without drawing."""
    phantom = make_phantom(task, seed, captions=STATEMENTS)
    caption = ". ".join(dict.fromkeys(caption.text for caption in phantom.captions))
    return np.round(phantom.image[None] * 255).astype(np.uint8), caption
