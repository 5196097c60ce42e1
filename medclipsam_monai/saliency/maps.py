"""Ranges of saliency maps and what several have in common, for every method."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from medclipsam_monai.base.errors import InputWarning


def stretched(maps: Tensor) -> Tensor:
    """Each map (..., H, W) stretched to [0, 1]; a constant one, or one that holds NaN, becomes zeros."""
    low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    spread = high - low
    return torch.where(spread > 0, (maps - low) / spread.clamp_min(torch.finfo(maps.dtype).tiny), 0.0)


def consensus(maps: Tensor) -> Tensor:
    """What the maps of several texts (N, ..., H, W) have in common, (..., H, W) in [0, 1].

    The trimmed mean: at each pixel the highest and the lowest value are left out where there are three or more, so that
    no single text decides; then stretched.
    """
    kept = maps.sort(dim=0).values[1:-1] if len(maps) > 2 else maps
    return stretched(kept.mean(dim=0))


def unit_range(maps: Tensor) -> Tensor:
    """Each map (..., H, W) stretched to [0, 1]; a constant one becomes zeros, with a warning."""
    out = stretched(maps)
    if not bool((out.amax(dim=(-2, -1)) > 0).all()):
        warnings.warn("a saliency map is constant: the text finds nothing in the image", InputWarning, stacklevel=2)
    return out
