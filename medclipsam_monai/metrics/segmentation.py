"""Scores of a predicted mask against the true one: DSC, NSD and IoU of each class of an image.

MONAI computes them; here is one convention for empty masks in all three, since MONAI leaves an image without the class
out of the mean unless told otherwise, and would so never charge a method for painting where nothing is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from monai.config import NdarrayOrTensor
from monai.metrics import compute_dice, compute_iou

from medclipsam_monai.metrics.inputs import Spacing, binary, same_shape, spacing_values
from medclipsam_monai.metrics.nsd import surface_dice


@dataclass(frozen=True)
class SegmentationScores:
    """Scores of one image, each a tuple of K values, one a class.

    Attributes:
        dsc: Dice similarity coefficient, in [0, 1].
        nsd: normalised surface Dice at the tolerance asked for, in [0, 1].
        iou: intersection over union, in [0, 1].
        pred_area: size of the predicted mask: pixels or voxels without a spacing, mm2 or mm3 with one.
        truth_area: size of the true mask, in the same unit.
    """

    dsc: tuple[float, ...]
    nsd: tuple[float, ...]
    iou: tuple[float, ...]
    pred_area: tuple[float, ...]
    truth_area: tuple[float, ...]


def score_masks(
    pred: NdarrayOrTensor, truth: NdarrayOrTensor, tolerance: float = 2.0, spacing: Spacing | None = None
) -> SegmentationScores:
    """DSC, NSD and IoU of each class of one image.

    Both masks empty score 1 in all three (rightly nothing); one empty scores 0 in all three (missed, or made up).

    Args:
        pred: predicted masks (K, H, W) or (K, H, W, D), only 0 and 1. A volume is scored as a volume.
        truth: true masks of the same shape.
        tolerance: of the NSD: in pixels without a spacing (the papers: 2, in 2-D), in mm with one.
        spacing: mm along H, W[, D], or one number for all axes; None counts in pixels.

    Returns:
        The scores, and the areas of both masks.

    Raises:
        InputError: masks of two shapes, or values other than 0 and 1.
        ValueError: a tolerance or spacing that is not possible.

    Examples:
        >>> from torch import zeros
        >>> pred, truth = zeros(1, 4, 4), zeros(1, 4, 4)
        >>> pred[0, :2], truth[0, :1] = 1, 1
        >>> scores = score_masks(pred, truth)
        >>> [round(scores.dsc[0], 3), scores.iou[0], scores.pred_area[0]]
        [0.667, 0.5, 8.0]
    """
    pred, truth = binary(pred, "the prediction"), binary(truth, "the truth")
    same_shape(pred, truth, "prediction and truth")
    dsc = compute_dice(pred[None], truth[None], ignore_empty=False)[0]
    iou = compute_iou(pred[None], truth[None], ignore_empty=False)[0]
    nsd = surface_dice(pred, truth, tolerance, spacing)
    element = math.prod(spacing_values(spacing, pred.ndim - 1))
    return SegmentationScores(
        dsc=tuple(dsc.tolist()),
        nsd=tuple(nsd.tolist()),
        iou=tuple(iou.tolist()),
        pred_area=tuple(element * n for n in pred.flatten(1).sum(dim=1).tolist()),
        truth_area=tuple(element * n for n in truth.flatten(1).sum(dim=1).tolist()),
    )
