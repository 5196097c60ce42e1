"""Lesions of one image put into another, so that few images show a lesion in many places.

Copy-paste augmentation (Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method", CVPR 2021), with soft
borders and the brightness of the new place.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

_BORDER = 3  # pixels over which a lesion fades into its new place
_RIM = 8  # pixels around a lesion whose brightness must be that of the new place
_MARGIN = 16  # pixels between a lesion's middle and the body's edge
_DARK = 0.04  # what is darker than this share of the brightest is outside the body


def transplant(
    picture: Tensor, mask: Tensor, donor: Tensor, lesion: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Put the lesion of one picture, turned and resized at random, somewhere into another's body.

    Args:
        picture: (1, H, W) in [0, 1], the picture that gets the lesion.
        mask: (1, H, W) bool, its own lesions; they stay.
        donor: (1, H, W) in [0, 1], the picture whose lesion it is.
        lesion: (1, H, W) bool, where; one pixel at least.
        rng: decides on place, angle and size.

    Returns:
        The picture (1, H, W) and the mask (1, H, W) of all its lesions.
    """
    host, body = picture[0].numpy(), _body(picture[0].numpy())
    places = np.argwhere(ndimage.binary_erosion(body, iterations=_MARGIN) & ~mask[0].numpy())
    if not len(places):
        return picture, mask
    turn = _turn(lesion[0].numpy(), places[rng.integers(len(places))], rng)
    moved = ndimage.affine_transform(donor[0].numpy(), *turn, order=1, mode="nearest")
    shape = (ndimage.affine_transform(lesion[0].float().numpy(), *turn, order=1) > 0.5) & body
    rim = ndimage.binary_dilation(shape, iterations=_RIM) & ~shape & body
    if rim.any():
        moved = moved + (host[rim].mean() - moved[rim].mean())
    weight = ndimage.gaussian_filter(ndimage.binary_dilation(shape, iterations=_BORDER).astype(float), _BORDER) * body
    mixed = (1 - weight) * host + weight * moved.clip(0, 1)
    return torch.from_numpy(mixed).to(picture)[None], mask | torch.from_numpy(shape)[None]


def _body(picture: NDArray[np.float32]) -> NDArray[np.bool_]:
    smooth = ndimage.gaussian_filter(picture, 2)
    return ndimage.binary_fill_holes(smooth > _DARK * smooth.max())


def _turn(
    lesion: NDArray[np.bool_], place: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix and offset, from pixels of the result to pixels of the donor, that bring a lesion's middle to a place."""
    angle, scale = rng.uniform(-np.pi, np.pi), np.exp(rng.uniform(-0.4, 0.4))
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    return matrix, np.argwhere(lesion).mean(0) - matrix @ place
