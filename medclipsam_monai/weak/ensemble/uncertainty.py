"""How unsure an ensemble is, pixel by pixel and image by image, and whether that tells where it errs.

Pixel maps: total entropy of the mean probability, and the mutual information between the members, the part of it that
comes from their disagreement. Image score: summed entropy by boundary length, as in "Efficient Bayesian uncertainty
estimation for nnU-Net" (MICCAI 2022) and MedCLIP-SAMv2. Against known errors: correlation with the DSC, and the
error-retention curve of "Shifts: a dataset of real distributional shift" (Malinin et al., 2021). All entropies are in
bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr
from torch import Tensor

_LN2 = math.log(2.0)


def entropy(probability: Tensor) -> Tensor:
    """Entropy of a class distribution, -sum_c p_c log2 p_c with p log2 p = 0 at 0.

    Args:
        probability: (C, ...) in [0, 1], summing to 1 over the classes.

    Returns:
        (...) in bits, from 0 to log2 C.

    Examples:
        >>> entropy(torch.tensor([[0.5, 0.0], [0.5, 1.0]]))
        tensor([1., 0.])
    """
    # rounding may leave a probability a hair over 1, whose term would be negative
    return (torch.special.entr(probability).sum(dim=0) / _LN2).clamp(min=0.0)


def mutual_information(total_entropy: Tensor, mean_entropy: Tensor) -> Tensor:
    """Mutual information between the class and the ensemble's member, in bits: what the members disagree about.

    Args:
        total_entropy: entropy of the members' mean probability.
        mean_entropy: mean of the members' entropies, of the same shape; at most the former, but for rounding.

    Returns:
        Of the same shape, at least 0.
    """
    return (total_entropy - mean_entropy).clamp(min=0.0)


def boundary_length(mask: Tensor) -> int:
    """Pixels just outside a mask: its dilation by 3 x 3 pixels, less the mask, inside the picture.

    This is the released code's measure. A volume is measured slice by slice, in the planes of its slices.

    Args:
        mask: (H, W) or (H, W, D); what is not zero is in the mask.

    Raises:
        ValueError: another number of axes.
    """
    if mask.ndim not in (2, 3):
        raise ValueError(f"mask must be (H, W) or (H, W, D), got shape {tuple(mask.shape)}")
    inside = mask.bool()
    planes = inside[None] if mask.ndim == 2 else inside.permute(2, 0, 1)
    dilated = torch.nn.functional.max_pool2d(planes[:, None].float(), kernel_size=3, stride=1, padding=1)[:, 0] > 0
    return int((dilated & ~planes).sum())


def uncertainty_score(entropy_map: Tensor, mask: Tensor) -> float:
    """Boundary-normalised uncertainty of an image: 100 * sum(entropy) / boundary length.

    An empty mask has no boundary, nor has one that fills the picture. There the outline of the picture stands in, the
    boundary of the one region there is: the score stays finite, and an empty mask of which the ensemble is sure scores
    low. The released code divides by zero.

    Args:
        entropy_map: (H, W) or (H, W, D), in bits.
        mask: of the same shape; what is not zero is in the mask.

    Returns:
        At least 0; the larger, the less sure.

    Raises:
        ValueError: two shapes.
    """
    if entropy_map.shape != mask.shape:
        raise ValueError(f"entropy_map and mask must have one shape, got {entropy_map.shape} and {mask.shape}")
    length = boundary_length(mask)
    if length == 0:
        height, width, *depth = mask.shape
        length = max(2 * (height + width) - 4, 1) * math.prod(depth)
    return 100.0 * float(entropy_map.double().sum()) / length


@dataclass(frozen=True)
class Correlation:
    """How a score goes with the DSC over images.

    Attributes:
        pearson: linear correlation in [-1, 1]; NaN if fewer than 2 images, or if one of both never varies.
        spearman: the same of the ranks, equal values sharing their mean rank.
        images: how many there were.
    """

    pearson: float
    spearman: float
    images: int


def correlation(score: Sequence[float], dsc: Sequence[float]) -> Correlation:
    """Pearson's and Spearman's correlation of an uncertainty score with the DSC; good ones are near -1.

    Args:
        score: uncertainty of each image.
        dsc: DSC of the same images, in [0, 1].

    Raises:
        ValueError: two lengths, or a number that is not finite.
    """
    scores, quality = (values.numpy() for values in _paired(score, dsc, "score", "dsc"))
    if len(scores) < 2 or np.ptp(scores) == 0 or np.ptp(quality) == 0:
        return Correlation(math.nan, math.nan, len(scores))
    linear, ranked = pearsonr(scores, quality), spearmanr(scores, quality)
    return Correlation(float(linear.statistic), float(ranked.statistic), len(scores))


def _paired(first: Sequence[float], second: Sequence[float], name: str, other: str) -> tuple[Tensor, Tensor]:
    left, right = (torch.as_tensor(values, dtype=torch.float64).flatten() for values in (first, second))
    if len(left) != len(right):
        raise ValueError(f"{name} and {other} must be of the same images, got {len(left)} and {len(right)} values")
    for values, of in ((left, name), (right, other)):
        if not torch.isfinite(values).all():
            raise ValueError(f"{of} must be finite, got NaN or infinity")
    return left, right


@dataclass(frozen=True)
class RetentionCurve:
    """Error-retention curve: the mean error if only the surest part of the images is kept, and the rest put right.

    Attributes:
        fraction: (N + 1,) part of the images that is kept, from 0 to 1.
        error: (N + 1,) mean error over all N images, those not kept counting 0; images are kept by rising uncertainty.
        oracle: (N + 1,) the same if the images were kept by rising error, the best there is.
        area: mean of ``error``, the area under the curve; small is good.
        random_area: area expected if the order were random.
        oracle_area: area under ``oracle``.
    """

    fraction: Tensor
    error: Tensor
    oracle: Tensor
    area: float
    random_area: float
    oracle_area: float

    @property
    def rejection_ratio(self) -> float:
        """How much of the way from random (0) to oracle (1) the order goes; NaN if all errors are equal."""
        span = self.random_area - self.oracle_area
        return (self.random_area - self.area) / span if span > 1e-12 else math.nan


def retention_curve(error: Sequence[float], uncertainty: Sequence[float]) -> RetentionCurve:
    """Error-retention curve and its area (Malinin et al., 2021).

    Equally uncertain images share their mean error, so the order in which they come plays no part. As there, the area
    is the mean over the N + 1 points, for which random order gives exactly half the mean error.

    Args:
        error: of each image, such as 1 - DSC; at least 0.
        uncertainty: of the same images; any scale.

    Raises:
        ValueError: no image, two lengths, a number that is not finite, or a negative error.

    Examples:
        >>> curve = retention_curve([2.0, 1.0], [1.0, 0.0])
        >>> curve.error.tolist(), round(curve.area, 3)
        ([0.0, 0.5, 1.5], 0.667)
    """
    errors, doubts = _paired(error, uncertainty, "error", "uncertainty")
    if len(errors) == 0:
        raise ValueError("a retention curve needs at least one image, got none")
    if errors.min() < 0:
        raise ValueError(f"error must be at least 0, got {errors.min():g}")
    curve, oracle = _retained(errors, doubts), _retained(errors, errors)
    return RetentionCurve(
        fraction=torch.linspace(0, 1, len(errors) + 1, dtype=torch.float64),
        error=curve,
        oracle=oracle,
        area=float(curve.mean()),
        random_area=float(errors.mean()) / 2,
        oracle_area=float(oracle.mean()),
    )


def _retained(errors: Tensor, order: Tensor) -> Tensor:
    """(N + 1,) sums of the errors in rising ``order``, over N."""
    values, group, size = torch.unique(order, return_inverse=True, return_counts=True)
    shared = torch.zeros(len(values), dtype=errors.dtype).index_add(0, group, errors) / size
    kept = shared[group][order.argsort(stable=True)].cumsum(0)
    return torch.cat([kept.new_zeros(1), kept]) / len(errors)
