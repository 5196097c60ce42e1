"""Segment everything: a grid of points, and of what they give the masks that are sure, stable and not twice there.

The way of segment_anything's ``SamAutomaticMaskGenerator`` (arXiv:2304.02643, section 5) without crops of the picture,
over any `PromptableSegmenter`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import masks_to_boxes, nms

from medclipsam_monai.networks.protocols import PromptableSegmenter

_CHUNK = 32


@dataclass(frozen=True)
class Everything:
    """What segments everything in a picture.

    Args:
        side: points along each side of the grid.
        quality: of the segmenter's own estimate of the IoU, the least that is kept.
        stability: IoU of the masks at probabilities `offset` in log-odds above and below a half, at least.
        offset: of the log-odds.
        overlap: of two boxes whose IoU is higher, the mask of less quality goes.
        smallest: share of the picture that a mask takes at least.
        largest: and at most; what takes all of it is no object.

    The defaults lie in the ranges that SaLIP's authors search.
    """

    side: int = 8
    quality: float = 0.5
    stability: float = 0.8
    offset: float = 1.0
    overlap: float = 0.7
    smallest: float = 0.001
    largest: float = 0.6

    def __call__(self, segmenter: PromptableSegmenter, embedding: Any, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Masks (N, H, W) bool of a picture of a shape, the surest first, and their boxes (N, 4) as x0, y0, x1, y1."""
        found, qualities = [torch.zeros(0, *shape, dtype=torch.bool)], [torch.zeros(0)]
        for points in self.points(shape).split(_CHUNK):
            labels = torch.ones(len(points), 1, dtype=torch.int64)
            probability, quality = segmenter.decode(embedding, points=points[:, None], labels=labels, multimask=True)
            masks, kept = self._sure(probability.cpu().flatten(0, 1), quality.cpu().flatten())
            found.append(masks)
            qualities.append(kept)
        masks, quality = torch.cat(found), torch.cat(qualities)
        boxes = masks_to_boxes(masks) if len(masks) else torch.zeros(0, 4)
        kept = nms(boxes, quality, self.overlap)
        return masks[kept], boxes[kept]

    def points(self, shape: tuple[int, int]) -> Tensor:
        """The grid (side^2, 2) as x, y in pixels, row after row, each point in the middle of its cell."""
        steps = (torch.arange(self.side) + 0.5) / self.side
        y, x = torch.meshgrid(steps * shape[0], steps * shape[1], indexing="ij")
        return torch.stack([x.flatten(), y.flatten()], dim=1)

    def _sure(self, probability: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
        """Those of some probabilities (N, H, W) that are sure, stable and of a size, as masks, with their quality."""
        high, low = (torch.tensor(sign * self.offset).sigmoid() for sign in (1, -1))
        inner, outer = ((probability > level).flatten(1).sum(dim=1) for level in (high, low))
        masks = probability > 0.5
        share = masks.flatten(1).float().mean(dim=1)
        kept = (quality >= self.quality) & (inner >= self.stability * outer)
        kept &= (share >= self.smallest) & (share <= self.largest)
        return masks[kept], quality[kept]
