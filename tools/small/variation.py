"""How a picture could have looked as well: turned, larger, aside, mirrored, with other greys, noise and blur."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from tools.small.pictures import Picture

_ANY_WAY_UP = ("cell_microscopy", "skin_dermoscopy")
_ONE_WAY_ROUND = ("liver_ct", "chest_ct", "torso_ct", "chest_xray", "cardiac_mri")
"""Kinds that are shown the same way round nearly everywhere; a mirrored one would move an organ to the other side."""
_ULTRASOUND = ("fetal_ultrasound", "nerve_ultrasound", "breast_ultrasound")


@dataclass(frozen=True)
class Placed:
    """Where the pixels of a square come from in a picture.

    Attributes:
        grid: (S, S, 2) for `grid_sample`.
        padding: (S, S), true where the square holds no picture, right of it or below.
    """

    grid: Tensor
    padding: Tensor

    def pixels(self, picture: NDArray[Any]) -> Tensor:
        """(C, H, W) in any numbers to (C, S, S) float32; outside is black."""
        return F.grid_sample(torch.from_numpy(picture).float()[None], self.grid[None], align_corners=False)[0]

    def masks(self, masks: NDArray[np.bool_]) -> Tensor:
        """(M, H, W) to (M, S, S), soft at the borders."""
        return F.grid_sample(torch.from_numpy(masks).float()[None], self.grid[None], align_corners=False)[0]


def place(picture: Picture, side: int, letterbox: bool, rng: np.random.Generator, strength: float = 1.0) -> Placed:
    """A place for a picture in a square, varied.

    Args:
        picture: the picture.
        side: of the square in pixels.
        letterbox: keep the proportions, the rest right and below empty as SAM has it; else squash as CLIP does.
        rng: of the variation.
        strength: of the variation; 0 for none.
    """
    height, width = picture.pixels.shape[:2]
    fit = np.array([width, height]) / max(width, height) if letterbox else np.ones(2)
    angle = rng.uniform(-0.25, 0.25) * strength
    scale = np.exp(rng.uniform(-0.25, 0.25) * strength) * np.exp(rng.uniform(-0.1, 0.1, 2) * strength)
    shift = rng.uniform(-0.15, 0.15, 2) * strength
    mirrored = 0.08 if picture.kind in _ONE_WAY_ROUND else 0.5
    flip = np.array([-1.0 if rng.random() < mirrored * strength else 1.0, 1.0])
    upside = picture.kind in _ANY_WAY_UP
    if strength and rng.random() < (0.5 if upside else 0.08):
        flip[1] = -1.0
    line = (torch.arange(side) + 0.5) / side  # 0..1 over the square
    y, x = torch.meshgrid(line, line, indexing="ij")
    x, y = (x / fit[0] - 0.5) * 2, (y / fit[1] - 0.5) * 2  # -1..1 over the picture
    aspect = width / height
    cos, sin = np.cos(angle), np.sin(angle)
    u = (cos * x * aspect + sin * y) / aspect * scale[0] * flip[0] + shift[0]
    v = (-sin * x * aspect + cos * y) * scale[1] * flip[1] + shift[1]
    grid = torch.stack([u, v], dim=-1).float()
    padding = (x.abs() > 1) | (y.abs() > 1)
    grid[padding] = 3.0  # outside, and so empty
    return Placed(grid, padding)


def shades(picture: Picture, rng: np.random.Generator) -> NDArray[Any]:
    """(3, H, W) in [0, 1] with another contrast, window, bias, noise and blur."""
    x: NDArray[Any] = picture.pixels.transpose(2, 0, 1).astype(np.float32) / 255
    if picture.kind == "liver_ct":
        x = np.repeat(_window(x[0], rng)[None], 3, axis=0)
    if picture.kind in ("cell_microscopy", "skin_dermoscopy") and rng.random() < 0.5:
        mixed = np.eye(3) + rng.normal(0, 0.15, (3, 3))
        x = np.einsum("ij,jhw->ihw", mixed, x).astype(np.float32).clip(0, 1)
        if rng.random() < 0.2:
            x = np.repeat(x.mean(0, keepdims=True), 3, axis=0)
    if picture.kind == "cell_microscopy" and rng.random() < 0.3:
        x = x * rng.uniform(0.1, 0.8)  # dim fluorescence
    x = x.clip(0, 1) ** np.float32(np.exp(rng.normal(0, 0.3)))
    if rng.random() < 0.5:
        low, high = rng.uniform(0, 0.15), rng.uniform(0.75, 1.1)
        x = low + x * (high - low)
    if rng.random() < 0.3:
        x = x * _bias(x.shape[1:], rng)
    if rng.random() < 0.25:
        x = ndimage.gaussian_filter(x, (0, *(2 * [rng.uniform(0.3, 1.3)]))).astype(np.float32)
    if rng.random() < 0.3:
        noise = rng.normal(0, rng.uniform(0.01, 0.06), x.shape[1:]).astype(np.float32)
        x = x * (1 + 4 * noise) if picture.kind in _ULTRASOUND else x + noise
    return np.ascontiguousarray(x.clip(0, 1))


def _bias(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    coarse = np.exp(rng.normal(0, 0.25, (4, 4)))
    zoom = (shape[0] / 4, shape[1] / 4)
    field = ndimage.zoom(coarse, zoom, order=1)[: shape[0], : shape[1]]
    full = np.ones(shape, np.float32)
    full[: field.shape[0], : field.shape[1]] = field
    return full


def _window(x: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """A CT shown from 0 to 255 HU as another window would show it; fat and air, both black there, are told by place."""
    if rng.random() < 0.25:
        return x
    hounsfield = 255 * x
    tissue = ndimage.binary_opening(hounsfield > 5, iterations=1)
    body = ndimage.binary_fill_holes(ndimage.binary_dilation(tissue, iterations=int(rng.integers(2, 9))))
    dark = hounsfield <= 5
    gas = ndimage.binary_opening(dark & body, iterations=int(rng.integers(4, 9)))
    fat = rng.normal(-100, 12) + rng.normal(0, 8, hounsfield.shape)
    shown = np.where(dark, np.where(body, fat, -1000.0), hounsfield)
    if rng.random() < 0.5:
        shown = np.where(gas & dark, rng.uniform(-950, -750), shown)
    centre, width = rng.uniform(20, 100), rng.uniform(250, 600)
    if rng.random() < 0.2:
        centre, width = rng.uniform(-50, 50), rng.uniform(800, 2000)
    return ((shown - centre) / width + 0.5).clip(0, 1)
