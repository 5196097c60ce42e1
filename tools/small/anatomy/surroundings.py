"""What lies in a CT beside the trunk: arms, and the boards of a table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medclipsam_monai.phantoms.shapes import Frame, Picture, ellipse, paint
from tools.small.anatomy.fields import Field, between

_AIR = -400.0
"""HU under which nothing is of the body."""
_FAT, _MUSCLE, _BONE, _MARROW = -95.0, 50.0, 700.0, 120.0
_ARMS, _BOARDS = 0.45, 0.5
"""Shares of the sections that show them."""


def lay_beside(rng: np.random.Generator, image: Field) -> None:
    """Draw arms and boards into a section (H, W) in HU, in place, where nothing lies yet."""
    body = _body(image)
    if not body.any():
        return
    rows, columns = np.flatnonzero(body.any(1)), np.flatnonzero(body.any(0))
    free = ~ndimage.binary_dilation(body, iterations=2)
    y, x = (np.arange(side, dtype=np.float32) for side in image.shape)
    frame = Frame(x[None], y[:, None])
    drawn = image.astype(np.float32, copy=True)
    if rng.random() < _BOARDS:
        _draw_boards(rng, frame, drawn, float(columns.mean()), float(rows[-1]), float(np.ptp(columns)))
    if rng.random() < _ARMS:
        for side, edge in ((-1, columns[0]), (1, columns[-1])):
            _draw_arm(rng, frame, drawn, (float(edge), side, float(rows.mean())), float(np.ptp(columns)))
    image[free] = drawn[free]


def _body(image: Field) -> NDArray[np.bool_]:
    """The largest thing that is no air, with what it encloses: (H, W)."""
    things, count = ndimage.label(ndimage.binary_opening(image > _AIR, iterations=2))
    if not count:
        return np.zeros(image.shape, bool)
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(things == 1 + np.bincount(things.ravel())[1:].argmax())
    return filled


def _draw_arm(
    rng: np.random.Generator, frame: Frame, image: Picture, place: tuple[float, int, float], width: float
) -> None:
    """An upper arm, or a forearm with its two bones, beside an edge of the body of some width in pixels."""
    edge, side, middle = place
    rx = width * between(rng, 0.06, 0.11)
    ry = rx * between(rng, 0.8, 1.5)
    x, y = edge + side * rx * between(rng, 0.95, 1.5), middle + width * rng.uniform(-0.05, 0.22)
    skin = ellipse(frame, x, y, rx, ry)
    paint(image, skin, _FAT)
    paint(image, skin - 0.2 * rx, _MUSCLE)
    for shift in (0.0,) if rng.random() < 0.5 else (-0.4, 0.4):
        bone = ellipse(frame, x + 0.1 * rx, y + shift * ry, 0.26 * rx, 0.26 * rx)
        paint(image, bone, _BONE)
        paint(image, bone - 0.12 * rx, _MARROW)


def _draw_boards(
    rng: np.random.Generator, frame: Frame, image: Picture, middle: float, back: float, width: float
) -> None:
    """One to three boards under the body's back, bent up at the sides."""
    y, half = back + between(rng, 2, 8), between(rng, 0.4, 0.75) * width
    for _ in range(int(rng.integers(1, 4))):
        bent = y - rng.uniform(0, 18) * ((frame.x - np.float32(middle)) / np.float32(half)) ** 2
        board = np.minimum(between(rng, 0.7, 1.6) - np.abs(frame.y - bent), half - np.abs(frame.x - np.float32(middle)))
        paint(image, board, rng.uniform(-300, 300))
        y += between(rng, 5, 14)
