"""What was found in one picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from medclipsam_monai.networks.known_pictures import NearestPicture


@dataclass(frozen=True)
class ZeroShotResult:
    """What was found in one picture; of a volume there is a `VolumeResult`.

    Attributes:
        names: the K classes.
        probability: (K, H, W) in [0, 1].
        mask: (K, H, W) bool; classes may overlap, `label_map` gives each pixel to one.
        coarse: (K, H, W) bool, before SAM.
        saliency: (K, H, W) in [0, 1].
        boxes: a class's box prompts, (n, 4) as x0, y0, x1, y1 in pixels.
        presence: a class's probability of being in the picture, or None where nothing was given to compare it with.
        quality: SAM's own estimate of the masks' IoU, mean over a class's prompts; None where there was none.
        object_score: SAM 2's own logit that the prompts show an object, the greatest over a class's prompts, below 0
            where likely nothing is there; None where there was none. Nothing is left empty by it.
        picture: which kind of picture it is nearest to; None where the kinds are not known.
    """

    names: tuple[str, ...]
    probability: Tensor
    mask: Tensor
    coarse: Tensor
    saliency: Tensor
    boxes: tuple[Tensor, ...]
    presence: tuple[float | None, ...]
    quality: tuple[float | None, ...]
    object_score: tuple[float | None, ...]
    picture: NearestPicture | None = None

    @property
    def masked_probability(self) -> Tensor:
        """(K, H, W): the probability where the final mask is, 0 elsewhere."""
        return self.probability * self.mask

    @cached_property
    def label_map(self) -> Tensor:
        """(H, W) uint8: 0 background, else the class's place from 1; overlaps go to the more probable class."""
        if len(self.mask) == 1:
            return self.mask[0].to(torch.uint8)
        score = torch.where(self.mask, self.probability, -1.0)
        best, index = score.max(dim=0)
        return torch.where(best >= 0, index + 1, 0).to(torch.uint8)
