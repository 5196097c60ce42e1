"""What drawn anatomy is made of: coordinates, smooth noise, grain, outlines, soft painting, letters.

A level is a field (H, W) float32: about the distance in pixels to a shape's border, positive inside. Levels are joined
by maximum and cut by minimum. Fields are made to cost about a millisecond.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

Field = NDArray[np.floating[Any]]
_BANK = 640
_LETTERS = "ABCDEFGHIKLMNOPRSTUVX0123456789:.-/ "


def grid(height: int, width: int) -> tuple[Field, Field]:
    """x and y of the pixels, each (H, W), from 0 at the left and the top."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return x, y


@cache
def _spread(length: int, cells: int) -> Field:
    """Weights (length, cells) that spread random numbers smoothly over a line; each row has unit energy."""
    at = np.linspace(0, cells - 1, length)[:, None] - np.arange(cells)[None]
    weights = np.exp(-(at**2) / 0.72)
    return (weights / np.sqrt((weights**2).sum(1, keepdims=True))).astype(np.float32)


def smooth(rng: np.random.Generator, shape: tuple[int, int], rows: int, columns: int) -> Field:
    """Smooth noise of unit variance with about so many bumps down and across."""
    numbers = rng.standard_normal((rows, columns), dtype=np.float32)
    return _spread(shape[0], rows) @ numbers @ _spread(shape[1], columns).T


def curve(rng: np.random.Generator, length: int, bumps: int) -> Field:
    """Smooth noise (length,) of unit variance."""
    return (_spread(length, bumps) * rng.standard_normal(bumps, dtype=np.float32)).sum(1)


@cache
def _bank(down: float, across: float) -> Field:
    noise = np.random.default_rng(71).standard_normal((_BANK, _BANK), dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, (down, across), mode="wrap")
    return noise / noise.std()


def grain(rng: np.random.Generator, shape: tuple[int, int], down: float, across: float) -> Field:
    """Gaussian noise of unit variance and a correlation length in pixels: a random cut of noise filtered once."""
    top, left = (int(rng.integers(0, _BANK - side)) for side in shape)
    cut = _bank(down, across)[top : top + shape[0], left : left + shape[1]]
    return cut[:: -1 if rng.random() < 0.5 else 1, :: -1 if rng.random() < 0.5 else 1]


def outline(rng: np.random.Generator, amount: float, lowest: int = 2, highest: int = 7) -> Field:
    """A closed outline: radius (360,) around 1, from waves `lowest` to `highest` around."""
    turn = np.linspace(0, 2 * np.pi, 360, endpoint=False, dtype=np.float32)
    waves = np.arange(lowest, highest + 1, dtype=np.float32)[:, None]
    heights = (rng.normal(0, amount, waves.shape) / waves**0.8).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, waves.shape).astype(np.float32)
    return np.clip(1 + (heights * np.cos(waves * turn + phases)).sum(0), 0.35, 1.8)


def angular(rng: np.random.Generator, corners: int, depth: float) -> Field:
    """An outline (360,) of straight-ish sides between random corners, alternately out and in by up to `depth`."""
    places = np.sort(rng.uniform(0, 360, corners))
    radii = 1 + depth * rng.uniform(0.2, 1.0, corners) * np.where(np.arange(corners) % 2, 1, -1)
    radii = np.interp(np.arange(360), places, radii, period=360)
    return ndimage.gaussian_filter1d(radii, rng.uniform(2, 7), mode="wrap").astype(np.float32)


def spikes(rng: np.random.Generator, count: int, height: float) -> Field:
    """What to add to an outline (360,) for so many narrow spikes."""
    turn = np.arange(360, dtype=np.float32)[None]
    away = np.abs((turn - rng.uniform(0, 360, (count, 1)).astype(np.float32) + 180) % 360 - 180)
    wide = rng.uniform(4, 12, (count, 1)).astype(np.float32)
    return (height * rng.uniform(0.3, 1, (count, 1)).astype(np.float32) * np.exp(-((away / wide) ** 2))).sum(0)


def blob(
    x: Field, y: Field, centre: tuple[float, float], radii: tuple[float, float], angle: float, edge: Field | None = None
) -> Field:
    """Level of an ellipse, its radius following an outline; `angle` in radians.

    Args:
        x: of every pixel.
        y: of every pixel.
        centre: x, y.
        radii: half axes in pixels, along the turned x and y.
        angle: of the first axis against x.
        edge: outline (360,); None for the ellipse itself.
    """
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    u, v = (cos * dx + sin * dy) / np.float32(radii[0]), (cos * dy - sin * dx) / np.float32(radii[1])
    rho = np.sqrt(u * u + v * v)
    if edge is None:
        return (1 - rho) * np.float32(min(radii))
    turn = (np.arctan2(v, u) * np.float32(180 / np.pi)).astype(np.int32) % 360
    return (edge[turn] - rho) * np.float32(min(radii))


def cover(level: Field, width: float) -> Field:
    """Coverage in [0, 1]: a ramp of `width` pixels across the border."""
    return np.clip(level / np.float32(width) + np.float32(0.5), 0, 1)


def paint(image: Field, level: Field, value: float | Field, width: float = 1.5, opacity: float | Field = 1.0) -> None:
    """Blend a value into the image, in place, where the level is positive."""
    image += cover(level, width) * np.asarray(opacity, np.float32) * (value - image)


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A random number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


@cache
def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default()


def write(rng: np.random.Generator, image: Field, row: int, column: int, value: float, scale: int = 1) -> None:
    """Write some letters that mean nothing, in place, with their top left corner there."""
    text = "".join(rng.choice(list(_LETTERS), int(rng.integers(1, 12))))
    page = Image.new("L", (12 * len(text), 16))
    ImageDraw.Draw(page).text((0, 0), text, fill=255, font=_font())
    letters = np.asarray(page, np.float32).repeat(scale, 0).repeat(scale, 1) / 255
    part = image[row : row + letters.shape[0], column : column + letters.shape[1]]
    part += letters[: part.shape[0], : part.shape[1]] * (value - part)
