"""Learning rates over a run, as factors of what the optimiser starts with; steps are optimiser steps."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def warmup_cosine(step: float, warmup: float, total: float) -> float:
    """Linear from 1 / (warmup + 1) to 1 over the warm-up, then half a cosine to 0 at the last step."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


def warmup_halving(step: int, warmup: int, every: int) -> float:
    """Linear over the warm-up, then halved every so many steps."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 ** ((step - warmup) // every)


class WarmupCosine(LambdaLR):
    """`warmup_cosine` for every group of an optimiser.

    Args:
        optimizer: whose rates are scaled.
        total: steps of the whole run.
        warmup: steps of the warm-up; a run that is shorter ends in it.
    """

    def __init__(self, optimizer: Optimizer, total: int, warmup: int = 0) -> None:
        if total < 1 or warmup < 0:
            raise ValueError(f"total must be positive and warmup 0 or more, got {total} and {warmup}")
        super().__init__(optimizer, lambda step: warmup_cosine(step, warmup, total))


class WarmupHalving(LambdaLR):
    """`warmup_halving` for every group of an optimiser.

    Args:
        optimizer: whose rates are scaled.
        every: steps between halvings.
        warmup: steps of the warm-up.
    """

    def __init__(self, optimizer: Optimizer, every: int, warmup: int = 0) -> None:
        if every < 1 or warmup < 0:
            raise ValueError(f"every must be positive and warmup 0 or more, got {every} and {warmup}")
        super().__init__(optimizer, lambda step: warmup_halving(step, warmup, every))
