"""A mask in a picture as the low-resolution logits that a SAM takes for a first guess."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

SURE = 10.0
"""Logits inside of a mask, and minus that outside: what SAM 2 makes of a mask that a person gives."""


def mask_logits(masks: Tensor, inner: tuple[int, int], square: int, side: int) -> Tensor:
    """Masks in a picture to logits over the square that the network sees.

    Args:
        masks: (N, H, W) in the picture's pixels, in [0, 1].
        inner: rows and columns that the picture takes in the square, from its corner on; the rest is outside.
        square: side of the square in pixels.
        side: of the logits, 256 for a SAM of 1024 pixels.

    Returns:
        (N, side, side): `SURE` inside, minus that outside, and by its share where a cell lies on the border.
    """
    fitted = F.interpolate(masks[:, None].float(), inner, mode="bilinear", align_corners=False, antialias=True)
    whole = F.pad(fitted, (0, square - inner[1], 0, square - inner[0]))
    share: Tensor = F.interpolate(whole, (side, side), mode="area")[:, 0].clamp(0, 1)
    return (2 * share - 1) * SURE
