"""An image as the pictures by which it is judged before anyone labels it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medclipsam_monai.io import ImageSource, read_image
from medclipsam_monai.transforms import DisplayRange

MOST_SLICES = 8
"""Slices of a volume that are looked at: its score need not cost what its segmentation costs."""


def display_slices(
    image: str | Path | ImageSource, window: Any = None, slice_axis: str = "acquired", most: int = MOST_SLICES
) -> Tensor:
    """Read an image as display pictures: itself, or evenly spaced slices of a volume.

    Args:
        image: a file, a DICOM series' folder, or one of `find_inputs`.
        window: how intensities become grey levels, see `DisplayRange`.
        slice_axis: how volumes are cut: "acquired", "axial", "coronal" or "sagittal".
        most: of a volume's slices.

    Returns:
        (B, 3, H, W) in [0, 1]; B is 1 for a picture.

    Raises:
        InputError: for anything about the file.
    """
    display = DisplayRange(window).view(read_image(image, slice_axis))
    if display.ndim == 3:
        return display.unsqueeze(0).contiguous()
    depth = display.shape[-1]
    count = min(most, depth)
    middles = ((torch.arange(count) + 0.5) * depth / count).long()  # of equal parts, so that no end is looked at twice
    return display[..., middles].movedim(-1, 0).contiguous()
