"""One result of several classes, each of which was asked for on its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from medclipsam_monai.zero_shot.result import ZeroShotResult
from medclipsam_monai.zero_shot.volumes.result import VolumeResult

Found: TypeAlias = ZeroShotResult | VolumeResult


def joined(parts: Iterable[Found]) -> Found:
    """The results of one image as one; overlaps go to the more probable class, as where all are asked for together.

    Args:
        parts: each of one class, at least one; where there are several volumes, their probability was kept. One is used
            before the next is taken, and no probability of a volume is kept.
    """
    every: list[Found] = []
    best: Tensor | None = None
    labels: Tensor | None = None
    for part in parts:
        if isinstance(part, VolumeResult) and part.maps:
            score = torch.where(part.mask[0], part.probability[0], -1.0)
            if best is None or labels is None:
                best, labels = torch.full_like(score, -1.0), torch.zeros(score.shape, dtype=torch.uint8)
            better = score > best
            best, labels = torch.where(better, score, best), labels.masked_fill(better, len(every) + 1)
            part = replace(part, maps={})
        every.append(part)
    if len(every) == 1:
        return every[0]
    together: dict[str, Any] = {name: sum((getattr(one, name) for one in every), ()) for name in _TUPLES}
    stacked = ("mask", "coarse") if labels is not None else ("mask", "coarse", "probability", "saliency")
    together |= {name: torch.cat([getattr(one, name) for one in every]) for name in stacked}
    if labels is not None:
        together["label_map"] = labels
    return replace(every[0], **together)


_TUPLES = ("names", "boxes", "presence", "quality", "object_score")
