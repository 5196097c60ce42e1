"""Boxes and points of classes to one mask a class, by whatever segmenter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medclipsam_monai.networks.protocols import MaskPromptedSegmenter, PromptableSegmenter, ScoringSegmenter
from medclipsam_monai.networks.sam.fusion import FUSIONS
from medclipsam_monai.transforms import VisualPrompts


@dataclass(frozen=True)
class PromptedMasks:
    """What a segmenter makes of the prompts of K classes in one picture.

    Attributes:
        probability: (K, H, W) in [0, 1].
        quality: its own estimate of each mask's IoU, mean over the class's prompts; None where not asked.
        object_score: the greatest logit over the class's prompts that what they show is an object, below 0 where likely
            nothing is there; None where not asked, or where the segmenter does not say.
    """

    probability: Tensor
    quality: tuple[float | None, ...]
    object_score: tuple[float | None, ...]


def prompted_masks(
    segmenter: PromptableSegmenter,
    embedding: Any,
    prompts: Sequence[VisualPrompts],
    shape: tuple[int, int],
    fusion: str | None = None,
) -> PromptedMasks:
    """Visual prompts to masks, each class's the union of its prompts'.

    Args:
        segmenter: asked once for each class that has prompts.
        embedding: of the picture; what is not prompted needs none.
        prompts: of the K classes; masks among them are for a segmenter that takes some.
        shape: rows and columns of the picture.
        fusion: how the segmenter's three answers are made one, of `FUSIONS`; None for its single answer.
    """
    decoded = [_decode(segmenter, embedding, one, shape, fusion) for one in prompts]
    probability, quality, scores = zip(*decoded, strict=True)
    return PromptedMasks(torch.stack(probability), quality, scores)


def _decode(
    segmenter: PromptableSegmenter,
    embedding: Any,
    prompts: VisualPrompts,
    shape: tuple[int, int],
    fusion: str | None,
) -> tuple[Tensor, float | None, float | None]:
    if len(prompts) == 0:
        return torch.zeros(shape), None, None
    asked = (embedding, prompts.boxes, prompts.points, prompts.labels, fusion is not None)
    more: dict[str, Any] = {}
    if prompts.masks is not None and isinstance(segmenter, MaskPromptedSegmenter) and segmenter.takes_masks:
        more = {"masks": segmenter.mask_logits(prompts.masks)}
    score = None
    if isinstance(segmenter, ScoringSegmenter):
        answer = segmenter.predict(*asked, **more)
        probability, quality = answer.logits.sigmoid(), answer.quality
        score = None if answer.object_scores is None else float(answer.object_scores.max())
    else:
        probability, quality = segmenter.decode(*asked, **more)
    single = probability[:, 0] if fusion is None else FUSIONS[fusion](probability, quality)
    return single.amax(dim=0).cpu(), float(quality.mean()), score
