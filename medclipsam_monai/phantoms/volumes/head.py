"""A T1-weighted MR of the head after contrast medium, from the crown down to the neck, in [0, 1]."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from medclipsam_monai.phantoms.scene import Dice
from medclipsam_monai.phantoms.shapes import Picture, inside, paint, wobble
from medclipsam_monai.phantoms.volumes.solids import Drawn, Field, Section, ellipsoid, grain, ramp

TASK = "head_mr"
TARGETS = ("ventricles", "brain tumour", "haematoma")
PARTS = ("head", "brain")
UNIT = 0.9  # mm
EXTENT = (230.4, 230.4, 180.0)  # mm from left to right, back to front, foot to head, that show the whole head
DTYPE = np.float32
_HEIGHT = 200.0  # units
_FAT, _GREY, _WHITE, _FLUID, _OEDEMA, _TUMOUR, _BLOOD = 0.8, 0.45, 0.6, 0.1, 0.38, 0.88, 0.97
_MUSCLE, _BONE, _AIR = 0.4, 0.07, 0.02


class Head:
    """One patient's head.

    Args:
        dice: of the patient.
        without: names of the targets that are left out.
    """

    def __init__(self, dice: Dice, without: Collection[str]) -> None:
        self._dice, self._without = dice, without
        rng = dice.stream("head")
        self._rx, self._ry, self._crown = rng.uniform(80, 90), rng.uniform(100, 110), rng.uniform(82, 90)
        self._outline = wobble(rng, 0.015, 2, 4)
        self._scalp, self._skull = rng.uniform(4.5, 6.5), rng.uniform(6, 8)
        self._folds, self._sulci = Field(rng, 22, _HEIGHT), Field(rng, 16, _HEIGHT)
        self._sulcus_depth = rng.uniform(0.1, 0.5)
        self._flesh = Field(rng, 14, _HEIGHT)
        rng = dice.stream("ventricles")
        self._ventricle = (rng.uniform(8, 13), rng.uniform(28, 40), rng.uniform(8, 16), rng.uniform(-10, 2))
        self._tumour = _place_tumour(dice)
        self._haematoma = _place_haematoma(dice, -self._tumour[0])
        rng = dice.stream("noise")
        self._shading, self._sigma = Field(rng, 3, _HEIGHT), rng.uniform(0.01, 0.035)

    def draw(self, section: Section, index: int) -> Drawn:
        """Draw section number `index`."""
        edge = section.edge
        image = np.full(section.shape, _AIR, np.float32)
        head = self._shell(section, 0, 1e3)
        self._draw_neck(section, image, head)
        skull = self._shell(section, self._scalp, 65)
        brain = self._shell(section, self._scalp + self._skull, 56)
        paint(image, np.minimum(skull, head), _BONE, edge)
        self._draw_brain(section, image, brain)
        levels = {"ventricles": np.minimum(self._ventricles(section), brain - 8)}
        levels["haematoma"] = self._blood(section, brain)
        levels["brain tumour"] = np.minimum(self._lump(section), brain - 3)
        if "haematoma" not in self._without:
            levels["brain tumour"] = np.minimum(levels["brain tumour"], -levels["haematoma"] - 3)
        if "brain tumour" not in self._without:
            levels["ventricles"] = np.minimum(levels["ventricles"], -levels["brain tumour"] - 1)
        self._paint_targets(section, image, levels, brain)
        image *= np.clip(1 + 0.12 * self._shading.at(section), 0.7, 1.3)
        rng = self._dice.stream(f"noise {index}")
        real, other = (np.float32(self._sigma) * grain(rng, section.shape, 0.5) for _ in range(2))
        image = np.clip(np.hypot(image + real, other), 0, 1)
        masks = {name: inside(levels[name]) for name in TARGETS if name not in self._without}
        return Drawn(image, masks, {"head": inside(head), "brain": inside(brain)})

    def _shell(self, section: Section, depth: float, below: float) -> Picture:
        """An ellipsoid `depth` units under the skin; downwards it reaches `below` units, and wanes to the back."""
        up = section.z > 0
        centre = (0.0, 0.0 if up or below > 100 else 22 * ramp(-section.z, 0, 60), 0.0)
        narrow = 1.0 if up else 1 - 0.2 * ramp(-section.z, 25, 90)
        radii = (narrow * (self._rx - depth), narrow * (self._ry - depth), self._crown - depth if up else below)
        return ellipsoid(section, centre, radii, self._outline)

    def _draw_neck(self, section: Section, image: Picture, head: Picture) -> None:
        """Skin and fat everywhere; under the skull flesh, the airway and the spine."""
        edge, z = section.edge, section.z
        paint(image, head, _FAT, edge)
        paint(image, head - self._scalp, _MUSCLE + 0.1 * self._flesh.at(section), edge)
        if z > -30:
            return
        wide = ramp(-z, 30, 50)
        paint(image, ellipsoid(section, (0, -22, z), (9 * wide + 1, 12 * wide + 1, 1e3)), _AIR, edge)
        paint(image, ellipsoid(section, (0, 22, z), (15 * wide + 1, 13 * wide + 1, 1e3)), 0.6, edge)
        paint(image, ellipsoid(section, (0, 42, z), (11, 9, 1e3)), _FLUID, edge)
        paint(image, ellipsoid(section, (0, 42, z), (6.5, 5.5, 1e3)), _WHITE, edge)

    def _draw_brain(self, section: Section, image: Picture, brain: Picture) -> None:
        """Fluid, cortex with its folds, white matter, the cleft between the halves and the deep nuclei."""
        edge, frame = section.edge, section.frame
        paint(image, brain, _FLUID * 0.8 + 0.1, edge)
        paint(image, brain - 2, _GREY, edge)
        paint(image, np.minimum(brain - 9 - 5 * self._folds.at(section), brain - 3), _WHITE, edge + 1)
        sulci = np.abs(self._sulci.at(section))
        paint(image, np.minimum((0.13 - sulci) * 20, np.minimum(22 - brain, brain)), _FLUID, 3, self._sulcus_depth)
        cleft = np.minimum(1.2 - np.abs(frame.x + 1.5 * np.sin(frame.y / 30)), brain - 2)
        paint(image, cleft, _FLUID, edge, 0.6 * ramp(section.z, -20, 20))
        for side in (-1, 1):
            nucleus = ellipsoid(section, (side * 24, 8, 0), (9, 17, 18), None, -side * 15)
            paint(image, np.minimum(nucleus, brain), _GREY, 5, 0.7)

    def _ventricles(self, section: Section) -> Picture:
        """Both lateral ventricles: two bowed horns, the hind ones a little lower."""
        width, length, tilt, y = self._ventricle
        levels = []
        for side in (-1, 1):
            x = side * (width + 3)
            front, back = (x, y - 0.3 * length, 12.0), (1.35 * x, y + 0.5 * length, 9.0)
            levels.append(ellipsoid(section, front, (0.9 * width, 0.65 * length, 17.0), None, side * tilt))
            levels.append(ellipsoid(section, back, (0.75 * width, 0.6 * length, 16.0), None, -side * 1.8 * tilt))
        return np.maximum.reduce(levels)

    def _lump(self, section: Section) -> Picture:
        side, (x, y, z), radius, outline, _ = self._tumour
        return ellipsoid(section, (side * x, y, z), (radius, radius, radius), outline)

    def _blood(self, section: Section, brain: Picture) -> Picture:
        """A crescent between skull and brain, thickest in the middle of its slices."""
        side, thick, y, z, reach = self._haematoma
        here = thick * (1 - ((section.z - z) / reach) ** 2)
        if here <= 0:
            return np.full(section.shape, -1e3, np.float32)
        frame = section.frame
        depth = brain - np.float32(here) * (1 - ((frame.y - y) / 70) ** 2)
        return np.minimum(np.minimum(brain - 0.5, -depth), side * frame.x - 15)

    def _paint_targets(self, section: Section, image: Picture, levels: dict[str, Picture], brain: Picture) -> None:
        edge, tumour = section.edge, levels["brain tumour"]
        if "ventricles" not in self._without:
            paint(image, levels["ventricles"], _FLUID, edge)
        if "haematoma" not in self._without:
            paint(image, levels["haematoma"], _BLOOD, edge)
        if "brain tumour" not in self._without:
            oedema = np.minimum(np.minimum(tumour + self._tumour[4], brain - 3), -levels["ventricles"])
            paint(image, oedema, _OEDEMA, edge + 3, 0.8)
            paint(image, tumour, _TUMOUR + 0.06 * self._flesh.at(section), edge)
            paint(image, tumour - 0.34 * self._tumour[2], 0.35 * _TUMOUR, edge + 2)


def _place_tumour(dice: Dice) -> tuple[float, tuple[float, float, float], float, Picture, float]:
    """Side, centre, radius and outline of a glioma, and how far its oedema reaches."""
    rng = dice.stream("brain tumour")
    side, radius = float(rng.choice([-1, 1])), rng.uniform(16, 24)
    centre = (rng.uniform(30, 42), rng.uniform(-42, 42), rng.uniform(0, 32))
    return side, centre, radius, wobble(rng, 0.3), rng.uniform(3, 10)


def _place_haematoma(dice: Dice, side: float) -> tuple[float, float, float, float, float]:
    """Side, thickness, y and z of its middle, and how far it reaches up and down."""
    rng = dice.stream("haematoma")
    return side, rng.uniform(10, 16), rng.uniform(-15, 15), rng.uniform(18, 30), rng.uniform(30, 40)
