r"""Normalised surface Dice (NSD), the share of two boundaries that lie within a tolerance of each other.

With :math:`S_P`, :math:`S_T` the boundary pixels of prediction and truth and :math:`\tau` the tolerance
(arXiv 2111.05408; MedCLIP-SAM and MedCLIP-SAMv2 report it in 2-D at 2 pixels):

.. math::
    \mathrm{NSD} = \frac{|\{p \in S_P : d(p, S_T) \le \tau\}| + |\{t \in S_T : d(t, S_P) \le \tau\}|}{|S_P| + |S_T|}

A boundary pixel is a foreground pixel with a background pixel, or the end of the image, at one of its 4 sides (6 faces
in 3-D). MONAI's `compute_surface_dice` does the counting; what it leaves open for empty masks is settled here.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from monai.config import NdarrayOrTensor
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.metrics import CumulativeIterationMetric, compute_surface_dice, do_metric_reduction
from monai.utils import MetricReduction
from torch import Tensor

from medclipsam_monai.base.quiet import silenced
from medclipsam_monai.metrics.inputs import Spacing, binary, same_shape, spacing_values


def surface_dice(
    pred: NdarrayOrTensor, truth: NdarrayOrTensor, tolerance: float = 2.0, spacing: Spacing | None = None
) -> Tensor:
    """NSD of each class. Both masks empty: 1. One empty: 0.

    Args:
        pred: predicted masks (K, H, W) or (K, H, W, D), only 0 and 1.
        truth: true masks of the same shape.
        tolerance: zero or more; in pixels without a spacing, in the spacing's unit (mm) with one.
        spacing: size of a pixel or voxel, one number or one for each of H, W[, D]; None counts in pixels.

    Returns:
        (K,) float32 in [0, 1].

    Raises:
        InputError: masks of two shapes, or values other than 0 and 1.
        ValueError: a tolerance or spacing that is not possible.
    """
    pred, truth = binary(pred, "the prediction"), binary(truth, "the truth")
    same_shape(pred, truth, "prediction and truth")
    sizes = spacing_values(spacing, pred.ndim - 1)
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"tolerance must be zero or more and finite, got {tolerance}")

    has_pred, has_truth = pred.flatten(1).any(dim=1), truth.flatten(1).any(dim=1)
    scores = (has_pred == has_truth).float()
    # MONAI warns of empty masks and returns NaN for a pair of them, so only pairs with two boundaries are counted.
    both = has_pred & has_truth
    if both.any():
        with silenced(dropped=(FutureWarning,)):  # MONAI 1.6 warns of an argument that it passes to itself
            scores[both] = compute_surface_dice(
                pred[both][None],
                truth[both][None],
                class_thresholds=[tolerance] * int(both.sum()),
                include_background=True,
                spacing=sizes,
            )[0]
    return scores


class SurfaceDice(CumulativeIterationMetric):
    """`surface_dice` as a MONAI metric, for `monai.handlers.IgniteMetricHandler`.

    Differs from `monai.metrics.SurfaceDiceMetric` in three ways: every class counts, with one tolerance for any number
    of them; two empty masks score 1 and not NaN; millimetres come from each image's own affine.

    Args:
        tolerance: zero or more, in `unit`.
        unit: "px" counts pixels, as the papers do in 2-D; "mm" takes the spacing from the affine of each truth (or
            prediction, if only that is a MetaTensor), for 3-D.
        reduction: as for every MONAI metric.

    Raises:
        ValueError: a unit that is neither.
    """

    def __init__(
        self,
        tolerance: float = 2.0,
        unit: Literal["px", "mm"] = "px",
        reduction: MetricReduction | str = MetricReduction.MEAN,
    ) -> None:
        super().__init__()
        if unit not in ("px", "mm"):
            raise ValueError(f'unit must be "px" or "mm", got "{unit}"')
        self.tolerance = tolerance
        self.unit = unit
        self.reduction = reduction

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **kwargs: Any) -> Tensor:
        """(B, K) scores of masks (B, K, H, W) or (B, K, H, W, D)."""
        if y is None:
            raise ValueError("y must be the true masks, got None")
        if len(y_pred) != len(y):
            raise ValueError(f"y_pred and y must have one batch size, got {len(y_pred)} and {len(y)}")
        rows = [
            surface_dice(pred, truth, self.tolerance, spacing)
            for pred, truth, spacing in zip(y_pred, y, self._spacings(y_pred, y), strict=True)
        ]
        return torch.stack(rows).to(y_pred.device)

    def _spacings(self, y_pred: Tensor, y: Tensor) -> list[list[float] | None]:
        """Spacing of each of B images, None for pixels."""
        if self.unit == "px":
            return [None] * len(y)
        source = y if isinstance(y, MetaTensor) else y_pred
        if not isinstance(source, MetaTensor):
            raise ValueError('unit "mm" needs MetaTensors that know their affine, got plain tensors')
        affines = source.affine if source.affine.ndim == 3 else [source.affine] * len(y)
        return [affine_to_spacing(a, r=len(a) - 1)[: y.ndim - 2].tolist() for a in affines]

    def aggregate(self, reduction: MetricReduction | str | None = None) -> Tensor:
        """The scores of all images so far, reduced.

        Args:
            reduction: the metric's own if None.

        Raises:
            ValueError: no image was scored yet.
        """
        scores = self.get_buffer()
        if scores is None:
            raise ValueError("there is nothing to aggregate: no image was scored yet")
        return do_metric_reduction(scores, reduction or self.reduction)[0]
