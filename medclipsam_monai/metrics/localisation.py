"""How well a saliency map points at its target, before any threshold: pointing game, energy inside, presence AUC.

The pointing game is Zhang et al.'s (IJCV 2018), without their margin of 15 pixels; energy inside is the energy-based
pointing game of Score-CAM (Wang et al., CVPR workshops 2020) with a mask in the place of a box.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.config import NdarrayOrTensor
from monai.metrics import compute_roc_auc
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.metrics.inputs import binary, plain, same_shape


def _flat(saliency: NdarrayOrTensor, mask: NdarrayOrTensor) -> tuple[Tensor, Tensor]:
    """Checked maps (K, n) float64 and masks (K, n) bool."""
    maps, masks = plain(saliency, "the saliency").double(), binary(mask, "the mask")
    same_shape(maps, masks, "saliency and mask")
    if not (torch.isfinite(maps).all() and (maps >= 0).all()):
        raise ValueError(
            f"saliency must be finite and zero or more, got {maps.min().item():g} to {maps.max().item():g}"
        )
    return maps.flatten(1), masks.flatten(1)


def _share_inside(weight: Tensor, mask: Tensor) -> Tensor:
    """Share (K,) of weights (K, n) that lie in the mask: 0 where there is no weight, NaN where there is no mask."""
    share = (weight * mask).sum(dim=1) / weight.sum(dim=1)
    share = share.where(weight.sum(dim=1) > 0, torch.zeros_like(share))
    return share.where(mask.any(dim=1), torch.full_like(share, torch.nan))


def pointing_game(saliency: NdarrayOrTensor, mask: NdarrayOrTensor) -> Tensor:
    """Whether the peak of each map lies in its mask.

    Args:
        saliency: maps (K, H, W) or (K, H, W, D), finite and zero or more.
        mask: masks of the same shape, only 0 and 1.

    Returns:
        (K,) float64: 1 for a hit, 0 for a miss; where several pixels share the peak, the share of them in the mask.
        A map of zeros points nowhere: 0. An empty mask cannot be hit: NaN, to be left out with `nanmean`.

    Raises:
        InputError: two shapes, or a mask with other values than 0 and 1.
        ValueError: a saliency that is negative or not finite.

    Examples:
        >>> saliency = torch.tensor([[[0.1, 0.9], [0.2, 0.3]]])
        >>> pointing_game(saliency, torch.tensor([[[0, 1], [0, 0]]]))
        tensor([1.], dtype=torch.float64)
    """
    maps, masks = _flat(saliency, mask)
    peak = maps.amax(dim=1, keepdim=True)
    return _share_inside(((maps == peak) & (peak > 0)).double(), masks)


def energy_inside(saliency: NdarrayOrTensor, mask: NdarrayOrTensor) -> Tensor:
    """Share of each map's saliency that lies in its mask.

    Args:
        saliency: maps (K, H, W) or (K, H, W, D), finite and zero or more.
        mask: masks of the same shape, only 0 and 1.

    Returns:
        (K,) float64 in [0, 1]; a map of zeros gives 0, an empty mask NaN. Chance is the mask's share of the image.

    Raises:
        InputError: two shapes, or a mask with other values than 0 and 1.
        ValueError: a saliency that is negative or not finite.
    """
    return _share_inside(*_flat(saliency, mask))


def presence_auc(scores: NdarrayOrTensor | Sequence[float], present: NdarrayOrTensor | Sequence[bool]) -> float:
    """Area under the ROC curve of presence scores: how often an image with the class scores above one without.

    Args:
        scores: (N,) presence of N images, the higher the surer.
        present: (N,) whether the class is there.

    Returns:
        In [0, 1], 0.5 is chance; a tie between an image with and one without counts one half.

    Raises:
        InputError: two lengths, or no image with, or none without the class.
        ValueError: a score that is not finite, or a presence other than 0 and 1.
    """
    values = torch.as_tensor(scores, dtype=torch.float64).detach().cpu()
    truth = torch.as_tensor(present, dtype=torch.float64).detach().cpu()
    if values.ndim != 1 or values.shape != truth.shape:
        raise InputError(
            f"scores and presences must be two lists of one length, got {tuple(values.shape)} and {tuple(truth.shape)}"
        )
    if not torch.isfinite(values).all():
        raise ValueError("scores must be finite, got NaN or infinity")
    if not ((truth == 0) | (truth == 1)).all():
        other = truth[(truth != 0) & (truth != 1)][0].item()
        raise ValueError(f"presences must be 0 or 1, got {other:g}")
    positives = int(truth.sum())
    if positives in (0, len(truth)):
        raise InputError(
            f"an AUC needs images with and without the class, got {positives} with and {len(truth) - positives} without"
        )
    return float(np.asarray(compute_roc_auc(values, truth)))
