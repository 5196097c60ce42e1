"""Several masks of one prompt made into one: SAM's three answers by mean, by its own scores, or by STAPLE."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Fusion = Callable[[Tensor, Tensor], Tensor]
_ITERATIONS = 500  # of STAPLE; masks of one prompt take some ten, votes at random need not end


def fuse_by_mean(probability: Tensor, quality: Tensor) -> Tensor:
    """Plain mean: probability (N, M, H, W), quality (N, M) to (N, H, W)."""
    return probability.mean(dim=1)


def fuse_by_score(probability: Tensor, quality: Tensor) -> Tensor:
    """Mean weighted by SAM's predicted IoU (the mask refinement of MedCLIP-SAMv2)."""
    weight = quality.clamp_min(1e-6)
    weight = weight / weight.sum(dim=1, keepdim=True)
    return (probability * weight[..., None, None]).sum(dim=1)


def fuse_by_best(probability: Tensor, quality: Tensor) -> Tensor:
    """The one mask that SAM itself rates highest."""
    return probability[torch.arange(len(quality)), quality.argmax(dim=1)]


def fuse_by_staple(probability: Tensor, quality: Tensor) -> Tensor:
    """Simultaneous truth and performance level estimation (Warfield et al., 2004) over the masks above 0.5."""
    fused = torch.zeros_like(probability[:, 0])
    for n, votes in enumerate((probability > 0.5).cpu().numpy()):
        union, agreed = votes.any(axis=0), votes.all(axis=0)
        if (union == agreed).all():  # full agreement: STAPLE has nothing to estimate and divides by zero
            fused[n] = torch.from_numpy(union.astype(np.float32))
            continue
        fused[n] = torch.from_numpy(np.nan_to_num(_staple(votes).astype(np.float32)))
    return fused


def _staple(votes: np.ndarray) -> np.ndarray:
    """Probability of the foreground (H, W), float64, from masks (M, H, W)."""
    import itk  # takes seconds

    kind = itk.Image[itk.D, 2]
    estimator = itk.STAPLEImageFilter[kind, kind].New(ForegroundValue=1.0, MaximumIterations=_ITERATIONS)
    for number, vote in enumerate(votes):
        estimator.SetInput(number, itk.image_from_array(vote.astype(np.float64)))
    estimator.Update()
    return itk.array_from_image(estimator.GetOutput())


FUSIONS: dict[str, Fusion] = {
    "best": fuse_by_best,
    "mean": fuse_by_mean,
    "score": fuse_by_score,
    "staple": fuse_by_staple,
}
