"""Liver under the right dome of the diaphragm, spleen, kidneys, stomach and bowel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medclipsam_monai.phantoms.scene import Dice
from medclipsam_monai.phantoms.shapes import Picture, paint, wobble
from medclipsam_monai.phantoms.volumes.solids import Field, Point, Section, ellipsoid
from medclipsam_monai.phantoms.volumes.wall import HEIGHT

KIDNEY, HILUM, SPLEEN, GAS = 190.0, -46.0, 108.0, -940.0  # HU
_LOOPS = 64


@dataclass(frozen=True)
class _Loop:
    """A piece of bowel: an ellipsoid, with or without gas in its front."""

    centre: Point
    radii: Point
    outline: Picture
    angle: float
    value: float
    gas: bool


class Abdomen:
    """The abdomen of one patient.

    Args:
        dice: of the patient.
        back: y of the skin of the back.
        varied: whether the spleen may be large, and lie far back.
    """

    def __init__(self, dice: Dice, back: float, varied: bool = False) -> None:
        rng = dice.stream("liver")
        self._edge, self._tip, self._tail = rng.uniform(6, 22), rng.uniform(-82, -66), rng.uniform(24, 36)
        self._liver, self._liver_edge = rng.uniform(92, 114), Field(rng, 6, HEIGHT)
        self._liver_texture = Field(rng, 16, HEIGHT)
        rng = dice.stream("spleen")
        self._spleen_centre = (69.0, back - 62.0, rng.uniform(-34, -27))
        self._spleen_radii = (rng.uniform(17, 20), rng.uniform(30, 36), rng.uniform(26, 32))
        self._spleen_outline = wobble(rng, 0.08, 2, 4)
        if varied:
            rng = dice.stream("other spleen")
            self._spleen_centre = (rng.uniform(58, 74), back - rng.uniform(36, 66), rng.uniform(-34, -20))
            self._spleen_radii = (rng.uniform(16, 30), rng.uniform(26, 44), rng.uniform(24, 36))
        rng = dice.stream("kidneys")
        self._kidneys = []
        for side, z in ((-1, -56), (1, -46)):
            centre = (side * rng.uniform(43, 50), back - rng.uniform(42, 48), z + rng.uniform(-4, 4))
            r = rng.uniform(16, 20)
            self._kidneys.append((side, centre, (r, 1.15 * r, rng.uniform(26, 33)), wobble(rng, 0.07, 2, 4)))
        self._loops = [_stomach(dice), *_bowel(dice)]

    def draw_bowel(self, section: Section, image: Picture, cavity: Picture, roof: Picture) -> None:
        """Stomach and bowel, below the diaphragm."""
        space = np.minimum(cavity - 1, roof - 2)
        for loop in self._loops:
            if abs(section.z - loop.centre[2]) >= 1.2 * loop.radii[2]:
                continue
            x, y, _ = loop.centre
            window, part = section.near(x, y, 1.3 * max(loop.radii[:2]))
            level = np.minimum(ellipsoid(part, loop.centre, loop.radii, loop.outline, loop.angle), space[window])
            paint(image[window], level, loop.value, section.edge)
            if loop.gas:
                paint(image[window], np.minimum(level - 4, y - part.frame.y), GAS, section.edge)

    def kidneys(self, section: Section, cavity: Picture) -> tuple[Picture, Picture]:
        """Levels of both kidneys and of the fat at their hilum."""
        levels, hilum = [], []
        for side, (x, y, z), radii, outline in self._kidneys:
            levels.append(ellipsoid(section, (x, y, z), radii, outline, side * 20))
            inner = (x - side * 0.75 * radii[0], y - 2, z)
            hilum.append(ellipsoid(section, inner, (0.5 * radii[0], 0.4 * radii[1], 0.4 * radii[2]), None, side * 20))
        return np.minimum(np.maximum(*levels), cavity + 3), np.maximum(*hilum)

    def spleen(self, section: Section, cavity: Picture, roof: Picture) -> Picture:
        """Level of the spleen, at the patient's left."""
        level = ellipsoid(section, self._spleen_centre, self._spleen_radii, self._spleen_outline, -15)
        return np.minimum(np.minimum(level, cavity - 1.5), roof - 1)

    def liver(self, section: Section, cavity: Picture, roof: Picture) -> Picture:
        """Level of the liver: a dome under the lung, then across the midline, then the tip of the right lobe."""
        x, y = section.frame.x, section.frame.y
        start = -14.0
        fallen = max(0.0, (start - section.z) / (start - self._tip))
        edge = np.float32(self._edge - 108 * fallen**1.3) - x - np.float32(0.3) * np.clip(y, -60, 60)
        edge = edge + 4 * self._liver_edge.at(section)
        level = np.minimum(np.minimum(cavity - 2, np.float32(0.8) * edge), np.float32(self._tail) - y)
        return np.minimum(level, roof - 1)

    def paint_liver(self, section: Section, image: Picture, level: Picture) -> None:
        """The liver's tissue."""
        paint(image, level, self._liver + 10 * self._liver_texture.at(section), section.edge)

    @staticmethod
    def paint_kidneys(section: Section, image: Picture, level: Picture, hilum: Picture) -> None:
        """The kidneys in their fat."""
        paint(image, level + 3, -88, section.edge + 1)
        paint(image, level, KIDNEY, section.edge)
        paint(image, np.minimum(hilum, level + 2), HILUM, section.edge + 1)


def _stomach(dice: Dice) -> _Loop:
    rng = dice.stream("stomach")
    radii = (rng.uniform(22, 28), rng.uniform(18, 23), rng.uniform(20, 26))
    return _Loop((34.0, -24.0, rng.uniform(-26, -18)), radii, wobble(rng, 0.12, 2, 4), 20.0, rng.uniform(25, 60), True)


def _bowel(dice: Dice) -> list[_Loop]:
    rng = dice.stream("bowel")
    loops = []
    for _ in range(_LOOPS):
        centre = (rng.uniform(-70, 75), rng.uniform(-50, 22), rng.uniform(-145, -22))
        r = rng.uniform(7, 15)
        radii = (r * rng.uniform(1, 1.6), r, rng.uniform(9, 18))
        gas = bool(rng.random() < 0.3)
        loops.append(_Loop(centre, radii, wobble(rng, 0.2), rng.uniform(0, 180), rng.uniform(24, 94), gas))
    return loops
