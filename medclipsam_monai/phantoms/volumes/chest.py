"""Lungs under their apices and over the domes of the diaphragm, heart, great vessels and windpipe."""

from __future__ import annotations

import numpy as np

from medclipsam_monai.phantoms.scene import Dice
from medclipsam_monai.phantoms.shapes import Picture, ellipse, paint, soft, wobble
from medclipsam_monai.phantoms.volumes.solids import Field, Section, ellipsoid, ramp, tube
from medclipsam_monai.phantoms.volumes.wall import AIR, HEIGHT

HEART, BLOOD, FLUID = 120.0, 165.0, 20.0  # HU
_ASCENDING = (-2.0, -20.0)  # x and y of the ascending aorta under its arch
_DOME_DEPTH, _SLOPE = 46.0, 0.6  # units from a dome to its rim; of a level along the diaphragm to that along z


class Chest:
    """The chest of one patient.

    Args:
        dice: of the patient.
        back: y of the skin of the back.
    """

    def __init__(self, dice: Dice, back: float) -> None:
        rng = dice.stream("lungs")
        self._gap, self._apex = rng.uniform(15, 21), rng.uniform(116, 126)
        self._domes = {-1: rng.uniform(6, 16), 1: rng.uniform(1, 7)}
        self._air, self._vessels = rng.uniform(-890, -790), rng.uniform(200, 420)
        self._lung_edge, self._lung_texture = Field(rng, 8, HEIGHT), Field(rng, 20, HEIGHT)
        self._lung_vessels, self._filling = Field(rng, 36, HEIGHT), Field(rng, 14, HEIGHT)
        rng = dice.stream("heart")
        size = rng.uniform(0.92, 1.12)
        self._heart_centre = (12.0, -12.0, self._domes[1] + 33 * size)
        self._heart_radii = (42 * size, 31 * size, 33 * size)
        self._heart_outline, self._heart_angle = wobble(rng, 0.05, 2, 4), rng.uniform(15, 35)
        self._heart_texture = Field(rng, 8, HEIGHT)
        rng = dice.stream("vessels")
        self._arch = rng.uniform(86, 94)
        self._aorta = np.array([[6, back - 48, -96], [9, back - 48, -30], [13, back - 48, self._arch]])
        self._aorta_radii = np.array([6.0, 7.5, 9.0]) * rng.uniform(0.9, 1.1)
        self._tubes = [
            (np.array([[4, -14, 40], [*_ASCENDING, self._arch]]), np.array([10.0, 10.0])),  # ascending aorta
            (np.array([[-18, -8, 30], [-20, -14, self._arch], [-24, -14, 150]]), np.array([7.0, 7.0, 5.0])),
            (np.array([[8, -22, 45], [10, -14, 76]]), np.array([10.0, 8.0])),  # pulmonary trunk
            (np.array([[12, -10, self._arch], [22, -8, 150]]), np.array([4.5, 4.0])),
            (np.array([[-5, -14, self._arch], [-14, -12, 150]]), np.array([5.0, 4.0])),
        ]
        self._windpipe = np.array([[-9, 4, 76], [-9, 0, 151]]), np.array([6.0, 6.0])

    def fill(self, section: Section, image: Picture, cavity: Picture) -> None:
        """Fat between the organs: that of the mediastinum, lower down that of the abdomen."""
        chest = ramp(section.z, -25, 5)
        value = -74 + 42 * chest + (8 + 13 * chest) * self._filling.at(section)
        paint(image, cavity, value, section.edge + 1)

    def draw_vessels(self, section: Section, image: Picture) -> None:
        """Great vessels above the heart."""
        for points, radii in self._tubes:
            paint(image, tube(section, points, radii), BLOOD - 15, section.edge)

    def draw_windpipe(self, section: Section, image: Picture) -> None:
        """The windpipe down to where it divides."""
        level = tube(section, *self._windpipe)
        paint(image, level + 1.5, 20, section.edge)
        paint(image, level, AIR + 30, section.edge)

    def roof(self, section: Section) -> Picture:
        """Height of the diaphragm above the section, in units along a level's own direction: positive below it."""
        x, y = section.frame.x, section.frame.y
        heights = []
        depth = (y + 10) / np.where(y > -10, np.float32(60), np.float32(95))
        for side, top in self._domes.items():
            away = side * x - 46
            reach = np.where(away > 0, away / 44, away / 90)
            heights.append(np.float32(top) - np.float32(_DOME_DEPTH) * (reach**2 + depth**2))
        return (np.maximum(*heights) - np.float32(section.z)) * np.float32(_SLOPE)

    def aorta(self, section: Section) -> Picture:
        """From its arch to where it divides."""
        level = tube(section, self._aorta, self._aorta_radii)
        middle, reach = self._arch, 8.0
        if abs(section.z - middle) < reach:
            half = 9 * np.sqrt(1 - ((section.z - middle) / reach) ** 2)
            x, y = self._aorta[-1][:2]
            start_x, start_y = _ASCENDING
            length, tilt = np.hypot(x - start_x, y - start_y), np.rad2deg(np.arctan2(y - start_y, x - start_x))
            middle_x, middle_y = (x + start_x) / 2, (y + start_y) / 2
            arch = ellipse(section.frame, middle_x, middle_y, length / 2 + 8, half, tilt, power=3.0)
            level = np.maximum(level, arch)
        return level

    def heart(self, section: Section, cavity: Picture) -> Picture:
        """Level of the heart, apex to the patient's left."""
        level = ellipsoid(section, self._heart_centre, self._heart_radii, self._heart_outline, self._heart_angle)
        return np.minimum(level, cavity - 3)

    def lungs(self, section: Section, cavity: Picture, roof: Picture) -> Picture:
        """Level of both lungs, which the heart may still take from."""
        frame, z = section.frame, section.z
        bow = self._gap + 8 * np.cos(frame.y * np.float32(np.pi / 110))
        level = np.minimum(cavity - 1, np.abs(frame.x) - bow + 2 * self._lung_edge.at(section))
        level = np.minimum(level, -roof)
        start = 55.0
        if z > start:
            w = (z - start) / (self._apex - start)
            x, y = np.abs(frame.x) - 44, frame.y - np.float32(4 * w)
            level = np.minimum(level, (1 - np.sqrt((x / 44) ** 2 + (y / 70) ** 2 + np.float32(w**2))) * 40)
        return level

    def paint_lungs(self, section: Section, image: Picture, level: Picture) -> None:
        """Aerated lung with its vessels."""
        paint(image, level, self._air + 14 * self._lung_texture.at(section), section.edge + 0.5)
        bright = np.clip(self._lung_vessels.at(section) - 1.1, 0, 1.2) * np.exp(-np.abs(section.frame.x) / 90)
        image += np.float32(self._vessels) * bright * soft(level - 3, 4)

    def paint_heart(self, section: Section, image: Picture, level: Picture) -> None:
        """The heart in its fat."""
        paint(image, level + 2.5, -70, section.edge)
        paint(image, level, HEART + 20 * self._heart_texture.at(section), section.edge + 1)
