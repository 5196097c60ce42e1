"""Pixels of a picture for people, before anything is drawn on them: how many there are, and their grey levels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from monai.config import NdarrayOrTensor
from monai.utils import convert_to_numpy

_EQUAL = 0.01  # rows and columns whose distances differ by less make square pixels

LARGEST_SIDE = 2048
"""Pixels of the longer side that true proportions may lead to; a picture that has more by itself keeps its own."""


def check_display(image: NdarrayOrTensor) -> None:
    """Refuse what is no display image.

    Raises:
        ValueError: its shape is not (1 or 3, H, W[, D]).
    """
    if image.ndim not in (3, 4) or image.shape[0] not in (1, 3):
        raise ValueError(f"image must be (1 or 3, H, W) or (1 or 3, H, W, D), got {tuple(image.shape)}")


def display_pixels(image: NdarrayOrTensor) -> np.ndarray:
    """A display image as float (H, W, 1 or 3) in [0, 255]: 1 where its three channels share their memory, too."""
    check_display(image)
    channels = np.asarray(convert_to_numpy(image), dtype=np.float32)
    pixels = np.moveaxis(channels[:1] if channels.strides[0] == 0 else channels, 0, -1)
    return np.asarray(np.fmin(np.fmax(pixels, 0), 1) * 255)  # which take NaN for nothing: 0


def flat(pixels: np.ndarray) -> np.ndarray:
    """(H, W, C) to (H W, C)."""
    return pixels.reshape(-1, pixels.shape[-1])


def rounded(pixels: np.ndarray) -> np.ndarray:
    """Float (..., 1 or 3) in [0, 255] to uint8 (..., 3)."""
    channels = [np.rint(pixels).astype(np.uint8)] * (3 // pixels.shape[-1])
    return np.ascontiguousarray(np.concatenate(channels, axis=-1))


def drawn_size(shape: Sequence[int], spacing: Sequence[float] | None, min_size: int = 1) -> tuple[int, int]:
    """Rows and columns of a picture of (H, W) pixels on which a millimetre is as long down as across."""
    down, across = 1.0, 1.0
    if spacing is not None:
        row, column = (float(length) for length in spacing[:2])
        if 0 < row < math.inf and 0 < column < math.inf:
            finest = min(row, column)
            down, across = (1.0 if abs(x / finest - 1) < _EQUAL else x / finest for x in (row, column))
    longest = max(shape[0] * down, shape[1] * across)
    factor: float = max(1, math.ceil(min_size / longest))
    if longest > (most := max(LARGEST_SIDE, *shape[:2])):
        factor = most / longest
    return max(1, round(shape[0] * down * factor)), max(1, round(shape[1] * across * factor))


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels of (H, W, ...) repeated or left out to fill a size: each shows the pixel its centre lies in.

    Where it has that size already it is the one that came, not a copy.
    """
    if picture.shape[:2] == size:
        return picture
    rows, columns = ((np.arange(new) + 0.5) * old / new for new, old in zip(size, picture.shape, strict=False))
    return picture[rows.astype(int)][:, columns.astype(int)]


def first_pixel(edge: float, factor: float) -> int:
    """The first pixel of a resized picture that shows what begins at an edge."""
    return math.ceil(round(edge * factor - 0.5, 6))
