"""The bottleneck's noise, which every image and text sees alike: drawn once where it is small, as a small CLIP's is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache

import torch
from torch import Tensor

_MOST_KEPT = 1 << 24  # numbers, 64 MB; drawing those of a larger CLIP costs little beside its blocks


def noise_of_steps(seed: int, steps: int, shape: tuple[int, ...], device: torch.device) -> Iterable[Tensor]:
    """Standard normal noise for each step, the same on every device; not to be changed in place.

    Args:
        seed: of the generator, which is the CPU's.
        steps: how many there are.
        shape: of the noise of one step.
        device: where it is wanted.
    """
    if steps * math.prod(shape) <= _MOST_KEPT:
        return _kept(seed, steps, shape, device)
    return _drawn(seed, steps, shape, device)


def _drawn(seed: int, steps: int, shape: tuple[int, ...], device: torch.device) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        yield torch.randn(shape, generator=generator).to(device)


@lru_cache(maxsize=1)
def _kept(seed: int, steps: int, shape: tuple[int, ...], device: torch.device) -> tuple[Tensor, ...]:
    return tuple(_drawn(seed, steps, shape, device))
