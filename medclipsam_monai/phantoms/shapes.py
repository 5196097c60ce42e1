"""Drawing with soft-edged shapes: what every phantom is made of.

A shape is a level: a float32 picture (SIZE, SIZE), roughly the distance in pixels to the shape's border, positive
inside. Levels are combined with minimum and maximum, painted with `paint` and turned into masks with `inside`.
Coordinates are scene coordinates: 0, 0 is the middle of the picture, x runs right, y runs down, one unit is about one
pixel; the frame's random rotation, zoom and shift turn them into pixels, so that a scene is drawn once for all poses.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SIZE = 256
Picture = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
_BANK_SIZE = 512
_BANK_FIELDS = 4


@dataclass(frozen=True)
class Frame:
    """Scene coordinates of every pixel: x and y, each (SIZE, SIZE) float32."""

    x: Picture
    y: Picture


def make_frame(
    rng: np.random.Generator,
    rotate: float = 8.0,
    zoom: tuple[float, float] = (0.9, 1.1),
    shift: float = 10.0,
    centre: tuple[float, float] = (0.0, 0.0),
) -> Frame:
    """A random pose.

    Args:
        rng: source of randomness.
        rotate: largest rotation in degrees.
        zoom: smallest and largest magnification.
        shift: largest shift in pixels.
        centre: scene point in the middle of the picture before the shift.
    """
    angle = np.deg2rad(rng.uniform(-rotate, rotate))
    scale = rng.uniform(*zoom)
    dx, dy = rng.uniform(-shift, shift, 2)
    columns = np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2
    u = (columns[None, :] - np.float32(dx)) / np.float32(scale)
    v = (columns[:, None] - np.float32(dy)) / np.float32(scale)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return Frame(cos * u + sin * v + np.float32(centre[0]), -sin * u + cos * v + np.float32(centre[1]))


def local_axes(frame: Frame, cx: float, cy: float, rx: float, ry: float, angle: float) -> tuple[Picture, Picture]:
    """Coordinates in units of the radii, along the shape's own axes; `angle` in degrees."""
    cos, sin = np.float32(np.cos(np.deg2rad(angle))), np.float32(np.sin(np.deg2rad(angle)))
    x, y = frame.x - np.float32(cx), frame.y - np.float32(cy)
    return (cos * x + sin * y) / np.float32(rx), (cos * y - sin * x) / np.float32(ry)


def ellipse(
    frame: Frame, cx: float, cy: float, rx: float, ry: float, angle: float = 0.0, power: float = 2.0
) -> Picture:
    """Level of an ellipse, or of a superellipse (rounded rectangle) for `power` above 2."""
    u, v = local_axes(frame, cx, cy, rx, ry, angle)
    if power == 2.0:
        rho = np.sqrt(u * u + v * v)
    else:
        rho = (np.abs(u) ** np.float32(power) + np.abs(v) ** np.float32(power)) ** np.float32(1 / power)
    return (1 - rho) * np.float32(min(rx, ry))


def wobble(rng: np.random.Generator, amount: float, lowest: int = 2, highest: int = 6) -> Picture:
    """A closed outline: radius (256,) around 1 over the angle, from harmonics `lowest` to `highest`."""
    theta = np.linspace(0, 2 * np.pi, 256, endpoint=False, dtype=np.float32)
    radius = np.ones_like(theta)
    for k in range(lowest, highest + 1):
        radius += np.float32(amount / k * rng.normal()) * np.cos(k * theta + np.float32(rng.uniform(0, 2 * np.pi)))
    return np.clip(radius, 0.4, 1.7)


def spikes(rng: np.random.Generator, count: int, height: float) -> Picture:
    """An outline (256,) with `count` narrow spikes of up to `height` radii, as a spiculated mass has."""
    theta = np.linspace(0, 2 * np.pi, 256, endpoint=False, dtype=np.float32)
    radius = wobble(rng, 0.25)
    for centre in rng.uniform(0, 2 * np.pi, count):
        away = np.abs((theta - centre + np.pi) % (2 * np.pi) - np.pi)
        radius += np.float32(height * rng.uniform(0.5, 1.0)) * np.exp(-((away / 0.13) ** 2)).astype(np.float32)
    return radius


def blob(frame: Frame, cx: float, cy: float, rx: float, ry: float, outline: Picture, angle: float = 0.0) -> Picture:
    """Level of an ellipse whose radius follows `outline` (256,) around the angle."""
    u, v = local_axes(frame, cx, cy, rx, ry, angle)
    return (radius_at(outline, u, v) - np.sqrt(u * u + v * v)) * np.float32(min(rx, ry))


def radius_at(outline: Picture, u: Picture, v: Picture) -> Picture:
    """The radius of `outline` (256,) in the direction of each pixel's local coordinates."""
    turn = np.arctan2(v, u) * np.float32(len(outline) / (2 * np.pi))
    return outline[np.floor(turn).astype(np.int32) % len(outline)]


def soft(level: Picture, width: float = 1.5) -> Picture:
    """Coverage in [0, 1]: a ramp of `width` pixels across the border."""
    return np.clip(level / np.float32(width) + np.float32(0.5), 0, 1)


def inside(level: Picture) -> Mask:
    """The shape as a mask."""
    return level > 0


def paint(
    image: Picture, level: Picture, value: float | np.floating[Any] | Picture, width: float = 1.5, opacity: float = 1.0
) -> None:
    """Blend `value` into `image`, in place, where the level is positive."""
    image += soft(level, width) * np.float32(opacity) * (value - image)


@cache
def _basis(cells: int) -> Picture:
    """(SIZE, cells) weights that spread `cells` samples smoothly over a line; each row has unit energy."""
    centres = np.linspace(0, SIZE, cells)
    weights = np.exp(-(((np.arange(SIZE)[:, None] - centres[None]) * (cells - 1) / SIZE) ** 2) / 0.72)
    return (weights / np.sqrt((weights**2).sum(1, keepdims=True))).astype(np.float32)


def smooth_noise(rng: np.random.Generator, cells: int) -> Picture:
    """Smooth noise (SIZE, SIZE) of unit variance with about `cells` bumps a side."""
    basis = _basis(cells)
    return basis @ rng.standard_normal((cells, cells), dtype=np.float32) @ basis.T


def smooth_line(rng: np.random.Generator, cells: int) -> Picture:
    """Smooth noise (SIZE,) of unit variance."""
    return _basis(cells) @ rng.standard_normal(cells, dtype=np.float32)


@cache
def _bank(sigma_y: float, sigma_x: float) -> Picture:
    """Filtered white noise of unit variance, made once: filtering is too slow to do anew for every picture."""
    rng = np.random.default_rng(20240913)
    noise = rng.standard_normal((_BANK_FIELDS, _BANK_SIZE, _BANK_SIZE), dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, (0, sigma_y, sigma_x), mode="wrap")
    return noise / noise.std()


def texture(rng: np.random.Generator, sigma_y: float, sigma_x: float | None = None) -> Picture:
    """Grain (SIZE, SIZE) of unit variance: a random cut, flipped at random, of a bank of filtered noise."""
    bank = _bank(sigma_y, sigma_y if sigma_x is None else sigma_x)
    top, left = rng.integers(0, _BANK_SIZE - SIZE, 2)
    cut = bank[rng.integers(_BANK_FIELDS), top : top + SIZE, left : left + SIZE]
    if rng.random() < 0.5:
        cut = cut[:, ::-1]
    return cut[::-1] if rng.random() < 0.5 else cut


def blur(image: Picture, sigma: float) -> Picture:
    """Gaussian blur."""
    return ndimage.gaussian_filter(image, sigma, mode="nearest")


_GLYPHS = {"R": "11110100011000111110101001001010001", "L": "10000100001000010000100001000011111"}


def stamp_letter(image: Picture, letter: str, row: int, column: int, scale: int, value: float) -> None:
    """Draw R or L with its top left corner at (row, column), in place; a marker as radiographers lay on the film."""
    glyph = np.array([c == "1" for c in _GLYPHS[letter]]).reshape(7, 5).repeat(scale, 0).repeat(scale, 1)
    patch = image[row : row + glyph.shape[0], column : column + glyph.shape[1]]
    patch[glyph[: patch.shape[0], : patch.shape[1]]] = value
