"""A CT of chest and abdomen, from above the lungs down to the hip bones, in HU."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from medclipsam_monai.phantoms.scene import Dice
from medclipsam_monai.phantoms.shapes import Picture, inside, paint
from medclipsam_monai.phantoms.volumes.abdomen import SPLEEN, Abdomen
from medclipsam_monai.phantoms.volumes.chest import BLOOD, FLUID, Chest
from medclipsam_monai.phantoms.volumes.solids import Drawn, Section, grain
from medclipsam_monai.phantoms.volumes.wall import AIR, Wall

TASK = "chest_abdomen_ct"
TARGETS = ("lungs", "heart", "liver", "spleen", "kidneys", "aorta")
PARTS = ("body", "spine")
UNIT = 1.6  # mm
EXTENT = (409.6, 409.6, 480.0)  # mm from left to right, back to front, foot to head, that show the whole patient
DTYPE = np.int16


class Torso:
    """One patient's trunk.

    Args:
        dice: of the patient.
        without: names of the targets that are left out; in place of the lungs there is fluid.
        varied: whether the spleen may be large, and lie far back, as some patients' do.
    """

    def __init__(self, dice: Dice, without: Collection[str], varied: bool = False) -> None:
        self._dice, self._without = dice, without
        self._wall = Wall(dice)
        self._chest, self._abdomen = Chest(dice, self._wall.back), Abdomen(dice, self._wall.back, varied)
        self._noise = dice.stream("noise").uniform(5, 20)

    def draw(self, section: Section, index: int) -> Drawn:
        """Draw section number `index`."""
        image = np.full(section.shape, AIR, np.float32)
        walls = self._wall.draw(section, image)
        chest, abdomen, cavity = self._chest, self._abdomen, walls.cavity
        roof = chest.roof(section)
        chest.fill(section, image, cavity)
        chest.draw_vessels(section, image)
        abdomen.draw_bowel(section, image, cavity, roof)
        kidneys, hilum = abdomen.kidneys(section, cavity)
        aorta = np.minimum(chest.aorta(section), -walls.spine)
        levels = {"lungs": chest.lungs(section, cavity, roof), "heart": chest.heart(section, cavity)}
        levels["liver"], levels["spleen"] = (organ(section, cavity, roof) for organ in (abdomen.liver, abdomen.spleen))
        levels["kidneys"], levels["aorta"] = kidneys, aorta
        self._part(levels)
        self._paint(section, image, levels, hilum)
        image += np.float32(self._noise) * grain(self._dice.stream(f"noise {index}"), section.shape, 0.8)
        masks = {name: inside(level) for name, level in levels.items() if name not in self._without}
        return Drawn(np.clip(image, AIR, 3000), masks, {"body": inside(walls.body), "spine": inside(walls.spine)})

    def _part(self, levels: dict[str, Picture]) -> None:
        """Take from each organ what belongs to those before it and to the fat around them, in place."""
        for name, others in _BEFORE.items():
            for other, margin in others.items():
                if other not in self._without:
                    levels[name] = np.minimum(levels[name], -levels[other] - np.float32(margin))

    def _paint(self, section: Section, image: Picture, levels: dict[str, Picture], hilum: Picture) -> None:
        chest, abdomen, edge = self._chest, self._abdomen, section.edge
        drawn = [name for name in TARGETS if name not in self._without]
        if "lungs" in drawn:
            chest.paint_lungs(section, image, levels["lungs"])
        else:
            paint(image, levels["lungs"], FLUID, edge)
        chest.draw_windpipe(section, image)
        if "heart" in drawn:
            chest.paint_heart(section, image, levels["heart"])
        if "aorta" in drawn:
            paint(image, levels["aorta"], BLOOD, edge)
        if "spleen" in drawn:
            paint(image, levels["spleen"], SPLEEN, edge)
        if "liver" in drawn:
            abdomen.paint_liver(section, image, levels["liver"])
        if "kidneys" in drawn:
            abdomen.paint_kidneys(section, image, levels["kidneys"], hilum)


_BEFORE: dict[str, dict[str, float]] = {
    "heart": {"aorta": 2.0},
    "kidneys": {"aorta": 2.0},
    "lungs": {"heart": 2.5, "aorta": 1.5, "kidneys": 4.0},
    "spleen": {"kidneys": 3.0, "aorta": 2.0, "lungs": 1.0, "heart": 2.5},
    "liver": {"kidneys": 3.0, "heart": 3.0, "aorta": 2.0, "lungs": 1.0, "spleen": 2.0},
}
