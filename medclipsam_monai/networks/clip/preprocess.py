"""From a picture of any shape to a CLIP's square input, and from its saliency grid back to the picture.

The released code resizes the short side and crops the centre, then stretches the map over the whole picture: on any
image that is not square the map is shifted and the borders are never seen. Here the whole picture always goes in,
either squashed to the square or letterboxed into it, and the way back is the exact inverse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from medclipsam_monai.base.errors import InputError

Fit = Literal["squash", "letterbox"]
FITS: tuple[Fit, ...] = ("squash", "letterbox")
_LARGEST_SIDE = 4096


@dataclass(frozen=True)
class Preprocess:
    """Resize and normalise pictures for a vision tower, and bring maps back.

    Args:
        size: side of the square input, in pixels.
        mean: of each of the 3 channels, subtracted from values in [0, 1].
        std: of each of the 3 channels, positive, divides.
        fit: "squash" stretches the picture over the square; "letterbox" keeps its proportions and fills the rest
            with the mean colour.

    Raises:
        InputError: for a size, mean or deviation that no picture can be prepared with.
        ValueError: for an unknown ``fit``.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: Fit = "squash"

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise ValueError(f"fit must be one of {', '.join(FITS)}, got {self.fit!r}")
        if not 1 <= self.size <= _LARGEST_SIDE:
            raise InputError(f"the image size must be 1 to {_LARGEST_SIDE} pixels, got {self.size}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3 or not all(math.isfinite(value) for value in values):
                raise InputError(f"{name} must be 3 finite numbers, got {list(values)}")
        if min(self.std) <= 0:
            raise InputError(f"std must be 3 positive numbers, got {list(self.std)}")

    def inner_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns that a picture of this shape fills in the square."""
        if self.fit == "squash":
            return self.size, self.size
        scale = self.size / max(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _offset(self, inner: tuple[int, int]) -> tuple[int, int]:
        return (self.size - inner[0]) // 2, (self.size - inner[1]) // 2

    def __call__(self, image: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] to normalised input (B, 3, size, size)."""
        height, width = image.shape[-2:]
        inner = self.inner_size(height, width)
        if (height, width) != inner:
            image = F.interpolate(image, inner, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
        mean = image.new_tensor(self.mean).view(-1, 1, 1)
        std = image.new_tensor(self.std).view(-1, 1, 1)
        normalised = (image - mean) / std
        if inner == (self.size, self.size):
            return normalised
        top, left = self._offset(inner)
        square = normalised.new_zeros(*image.shape[:-2], self.size, self.size)
        square[..., top : top + inner[0], left : left + inner[1]] = normalised
        return square

    def restore(self, grid: Tensor, shape: tuple[int, int]) -> Tensor:
        """A map (B, K, h, w) over the square to the picture's own pixels (B, K, H, W), bilinear."""
        inner = self.inner_size(*shape)
        if inner == (self.size, self.size):
            return F.interpolate(grid, shape, mode="bilinear", align_corners=False)
        square = F.interpolate(grid, (self.size, self.size), mode="bilinear", align_corners=False)
        top, left = self._offset(inner)
        seen = square[..., top : top + inner[0], left : left + inner[1]]
        return F.interpolate(seen, shape, mode="bilinear", align_corners=False)
