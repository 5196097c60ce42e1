"""Drawing in three dimensions, one section after another: what every phantom volume is made of.

A solid is drawn by its level in one axial section, see `medclipsam_monai.phantoms.shapes`, whose scene coordinates are
used: x runs to the patient's left, y to the back, and z upwards; 0, 0, 0 is the middle of the patient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medclipsam_monai.phantoms.shapes import Frame, Mask, Picture, local_axes, radius_at

_ACROSS = 256.0  # units that a field of noise spans in x and y
Window = tuple[slice, slice]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Section:
    """One axial section that is to be drawn.

    Attributes:
        frame: scene coordinates of its pixels: x (1, columns) and y (rows, 1).
        z: scene coordinate of the section.
        edge: width of a soft border in units: two of them, and at least a pixel.
    """

    frame: Frame
    z: float
    edge: float

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.frame.y.shape[0], self.frame.x.shape[1]

    def near(self, x: float, y: float, reach: float) -> tuple[Window, Section]:
        """Where the pixels are that lie within `reach` of a point in x and in y, and the section of these alone."""
        reach += self.edge
        rows = slice(*np.searchsorted(self.frame.y[:, 0], (y - reach, y + reach)).tolist())
        columns = slice(*np.searchsorted(self.frame.x[0], (x - reach, x + reach)).tolist())
        part = Frame(self.frame.x[:, columns], self.frame.y[rows])
        return (rows, columns), Section(part, self.z, self.edge)


@dataclass(frozen=True)
class Drawn:
    """A section that was drawn.

    Attributes:
        image: (rows, columns) float32.
        masks: the targets that are in it, by name, no two of which share a pixel.
        parts: further structures.
    """

    image: Picture
    masks: Mapping[str, Mask]
    parts: Mapping[str, Mask]


class Field:
    """Smooth noise of unit variance that runs on from section to section.

    Args:
        rng: source of randomness.
        cells: number of bumps over 256 units.
        height: units from the lowest to the highest section.
    """

    def __init__(self, rng: np.random.Generator, cells: int, height: float) -> None:
        self._height = height
        levels = max(2, round(cells * height / _ACROSS))
        self._values = rng.standard_normal((levels, cells, cells), dtype=np.float32)

    def at(self, section: Section) -> Picture:
        """The noise of a section's pixels."""
        levels, cells, _ = self._values.shape
        flat = np.tensordot(_weights(np.array([section.z]), levels, self._height)[0], self._values, 1)
        rows = _weights(section.frame.y[:, 0], cells, _ACROSS)
        return rows @ flat @ _weights(section.frame.x[0], cells, _ACROSS).T


def _weights(places: Picture, cells: int, extent: float) -> Picture:
    """(places, cells) weights that spread samples over a line about 0; each row has unit energy."""
    where = (np.clip(places / extent, -0.5, 0.5) + 0.5) * (cells - 1)
    weights = np.exp(-((where[:, None] - np.arange(cells)) ** 2) / 0.72)
    return (weights / np.sqrt((weights**2).sum(1, keepdims=True))).astype(np.float32)


def ellipsoid(
    section: Section, centre: Point, radii: Point, outline: Picture | None = None, angle: float = 0.0
) -> Picture:
    """Level of an ellipsoid in a section; each section of it has the `outline` (256,), turned by `angle` degrees."""
    u, v = local_axes(section.frame, centre[0], centre[1], radii[0], radii[1], angle)
    w = np.float32((section.z - centre[2]) / radii[2])
    across = u * u + v * v
    if outline is not None:
        across /= radius_at(outline, u, v) ** 2
    return (1 - np.sqrt(across + w * w)) * np.float32(min(radii))


def tube(section: Section, points: np.ndarray, radii: np.ndarray) -> Picture:
    """Level of a tube along a line through z: its section is a circle.

    Args:
        section: to draw in.
        points: (N, 3) of the line's middle, z rising.
        radii: (N,) there.
    """
    x, y, r = (np.interp(section.z, points[:, 2], values) for values in (points[:, 0], points[:, 1], radii))
    inside = points[0, 2] <= section.z <= points[-1, 2]
    frame = section.frame
    distance = np.sqrt((frame.x - np.float32(x)) ** 2 + (frame.y - np.float32(y)) ** 2)
    return np.float32(r if inside else -1e3) - distance


def ramp(value: float, start: float, end: float) -> float:
    """0 at `start`, 1 at `end`, even between them, smooth at both."""
    t = min(max((value - start) / (end - start), 0.0), 1.0)
    return t * t * (3 - 2 * t)


def grain(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Picture:
    """Noise of unit variance whose neighbours are alike within about `sigma` pixels."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap")
    return noise / noise.std()
