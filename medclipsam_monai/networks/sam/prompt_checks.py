"""Prompts that belong together, for every promptable segmenter."""

from __future__ import annotations

from torch import Tensor


def check_prompts(
    boxes: Tensor | None, points: Tensor | None, labels: Tensor | None, masks: Tensor | None = None
) -> int:
    """The number of prompts.

    Args:
        boxes: (N, 4), or None.
        points: (N, P, 2), or None.
        labels: (N, P), or None.
        masks: (N, h, w), or None; they come beside boxes or points.

    Raises:
        ValueError: if there is no prompt, or shapes do not belong together.
    """
    if boxes is None and points is None:
        raise ValueError("a prompt needs boxes, points or both, got neither")
    if (points is None) != (labels is None):
        raise ValueError("points and labels come together, got only one of them")
    if boxes is not None and (boxes.ndim != 2 or boxes.shape[1] != 4):
        raise ValueError(f"boxes must be (N, 4), got {tuple(boxes.shape)}")
    if points is not None and labels is not None:
        if points.ndim != 3 or points.shape[2] != 2 or labels.shape != points.shape[:2]:
            raise ValueError(
                f"points must be (N, P, 2) and labels (N, P), got {tuple(points.shape)} and {tuple(labels.shape)}"
            )
        if boxes is not None and len(boxes) != len(points):
            raise ValueError(f"got {len(boxes)} boxes and {len(points)} sets of points; expected as many of each")
    count = len(boxes) if boxes is not None else len(points) if points is not None else 0
    if count == 0:
        raise ValueError("a prompt needs at least one box or point, got none")
    if masks is not None and (masks.ndim != 3 or len(masks) != count):
        raise ValueError(f"masks must be ({count}, h, w), one for each prompt, got {tuple(masks.shape)}")
    return count
