"""The wall of the trunk: skin, fat, muscle, ribs, spine, hip bones, and the table beneath."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medclipsam_monai.phantoms.scene import Dice
from medclipsam_monai.phantoms.shapes import Picture, ellipse, paint, wobble
from medclipsam_monai.phantoms.volumes.solids import Field, Section, ellipsoid, ramp

AIR, FAT, MUSCLE, RIB, VERTEBRA, DISC, CORD = -1000.0, -95.0, 45.0, 330.0, 270.0, 95.0, 25.0  # HU
HEIGHT = 300.0  # units
_RIBS, _RIB_STEP, _RIB_FALL = 12, 16.0, 0.58  # how many, units from one to the next, units that one falls a degree
_DISC_STEP = 19.0
_HIP_TOP = -98.0


@dataclass(frozen=True)
class Walls:
    """Levels of a section: the body, the cavity within its wall, and the spine."""

    body: Picture
    cavity: Picture
    spine: Picture


class Wall:
    """The wall of one patient.

    Attributes:
        back: y of the skin of the back.
    """

    def __init__(self, dice: Dice) -> None:
        rng = dice.stream("body")
        self._rx, self.back = rng.uniform(92, 104), rng.uniform(68, 80)
        self._outline = wobble(rng, 0.02, 2, 4)
        self._fat, self._muscle = rng.uniform(4, 10), rng.uniform(7, 11)
        self._table = rng.uniform(4, 10)
        self._ribs = rng.uniform(122, 130)
        self._rib = rng.uniform(6, 9)
        self._texture, self._bone = Field(rng, 12, HEIGHT), Field(rng, 40, HEIGHT)

    def draw(self, section: Section, image: Picture) -> Walls:
        """Draw the wall into `image` (HU), which holds air."""
        frame, z, edge = section.frame, section.z, section.edge
        paint(image, 2.0 - np.abs(frame.y - self.back - self._table + np.float32(0.0015) * frame.x**2), -300, edge)
        rx, ry = self._rx * self._width(z), self.back
        body = ellipsoid(section, (0, 0, z), (rx, ry, 1e3), self._outline)
        paint(image, body, FAT, edge)
        paint(image, body - self._fat, MUSCLE + 20 * self._texture.at(section), edge + 1)
        inset = 20 * ramp(z, 75, 135)
        cavity = body - np.float32(self._fat + self._muscle + inset)
        cavity = np.minimum(cavity, -ellipse(frame, 0, ry - 22, 21, 22))
        self._draw_ribs(section, image, rx - self._fat - 6 - inset, ry - self._fat - 6 - inset)
        self._draw_hips(section, image)
        return Walls(body, cavity, self._draw_spine(section, image))

    @staticmethod
    def _width(z: float) -> float:
        """Width of the body: the neck, the chest, the waist and the hips."""
        return 1 - 0.15 * ramp(z, 115, 160) - 0.05 * ramp(-z, 10, 60) + 0.07 * ramp(-z, 70, 130)

    def _draw_spine(self, section: Section, image: Picture) -> Picture:
        frame, back, edge = section.frame, self.back, section.edge
        spine = np.maximum(ellipse(frame, 0, back - 30, 14, 11), ellipse(frame, 0, back - 14, 5, 12))
        phase = abs((section.z / _DISC_STEP) % 1 - 0.5) * _DISC_STEP  # units from the middle of a disc
        bone = DISC + (VERTEBRA - DISC) * ramp(phase, 1, 4)
        paint(image, spine, bone + 30 * self._bone.at(section), edge)
        paint(image, ellipse(frame, 0, back - 19, 4.5, 4), CORD, edge)
        return spine

    def _draw_ribs(self, section: Section, image: Picture, rx: float, ry: float) -> None:
        """Ribs fall from the spine to the front, so that a section cuts each at another angle."""
        for rib in range(_RIBS):
            turn = (self._ribs - rib * _RIB_STEP - section.z) / _RIB_FALL
            longest = 152 - 14 * max(0, rib - 6)
            size = min(1.0, (turn - 14) / 10, (longest - turn) / 10)
            if size <= 0.2:
                continue
            for angle in np.deg2rad((90 - turn, 90 + turn)):
                x, y = rx * np.cos(angle), ry * np.sin(angle)
                window, part = section.near(x, y, 10)
                level = ellipse(part.frame, x, y, self._rib * size, 2.6 * size, np.rad2deg(angle) + 90)
                paint(image[window], level, RIB, section.edge)

    def _draw_hips(self, section: Section, image: Picture) -> None:
        growth = ramp(-section.z, -_HIP_TOP, -_HIP_TOP + 35)
        if growth <= 0.05:
            return
        for side in (-1, 1):
            x, y = side * (64 - 8 * growth), self.back - 46
            level = ellipse(section.frame, x, y, 3 + 4 * growth, 8 + 24 * growth, side * 28)
            paint(image, level, RIB, section.edge)
            paint(image, level - 2.5, VERTEBRA - 70, section.edge)
