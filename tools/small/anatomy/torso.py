"""CT of chest and abdomen: sections of the package's phantom torso, with other shapes, contrasts and windows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medclipsam_monai.phantoms.scene import Dice
from medclipsam_monai.phantoms.seeds import TORSO_TRAINING
from medclipsam_monai.phantoms.shapes import Frame
from medclipsam_monai.phantoms.volumes.solids import Section
from medclipsam_monai.phantoms.volumes.torso import TARGETS, TASK, Torso
from tools.small.anatomy import fields
from tools.small.anatomy.fields import Field, between
from tools.small.pictures import Picture
from tools.small.words import COLUMN, UNKNOWN, states

KIND = "torso_ct"
_SIDE = 224
_WHOLE, _UPPER_ABDOMEN = (-125.0, 110.0), (-70.0, 12.0)
_MISSING = 0.1
_LEAST = 25
"""Pixels of a mask: fewer are neither shown nor missing."""
_BRIGHTNESS = {"heart": (25.0, 210.0), "liver": (35.0, 150.0), "kidneys": (25.0, 240.0), "aorta": (25.0, 330.0)}
"""HU of the organs, from no contrast medium to much."""


def _section(rng: np.random.Generator) -> tuple[Field, dict[str, NDArray[np.bool_]]]:
    """A section of a patient in HU, and where its organs lie."""
    (seed,) = TORSO_TRAINING.seeds(1, int(rng.integers(TORSO_TRAINING.count)))
    without = [name for name in TARGETS if rng.random() < _MISSING]
    step = between(rng, 0.85, 1.35)
    x, y = ((np.arange(_SIDE, dtype=np.float32) - np.float32(_SIDE / 2)) * np.float32(step) for _ in range(2))
    x, y = x * np.float32(between(rng, 0.88, 1.14)), y * np.float32(between(rng, 0.88, 1.14))
    frame = Frame((x + np.float32(rng.normal(0, 6)))[None], (y + np.float32(rng.normal(0, 6)))[:, None])
    z = rng.uniform(*(_UPPER_ABDOMEN if rng.random() < 0.6 else _WHOLE))
    drawn = Torso(Dice(TASK, seed), without).draw(Section(frame, z, max(2.0, step)), 0)
    return drawn.image, dict(drawn.masks)


def _recolour(rng: np.random.Generator, image: Field, masks: dict[str, NDArray[np.bool_]]) -> None:
    """Give every organ another brightness and texture, in place; the spleen is often much like the liver."""
    values = {name: rng.uniform(*ends) for name, ends in _BRIGHTNESS.items()}
    values["spleen"] = values["liver"] + rng.normal(5, 18) if rng.random() < 0.7 else rng.uniform(35, 170)
    for name, value in values.items():
        mask = masks.get(name)
        if mask is not None and mask.any():
            change: Field = np.float32(value - np.median(image[mask])) + np.float32(rng.uniform(0, 12)) * fields.smooth(
                rng, image.shape, 20, 20
            )
            image += ndimage.gaussian_filter(mask.astype(np.float32), 0.8) * change
    image += np.float32(rng.uniform(0, 14)) * fields.smooth(rng, image.shape, 14, 14) * (image > -300)


def _bent(
    rng: np.random.Generator, image: Field, masks: dict[str, NDArray[np.bool_]]
) -> tuple[Field, dict[str, NDArray[np.bool_]]]:
    """Other shapes: all is moved by a smooth field."""
    places = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    for cells, most in ((4, 9.0), (9, 3.0)):
        amount = np.float32(rng.uniform(0, most))
        places += amount * np.stack([fields.smooth(rng, image.shape, cells, cells) for _ in range(2)])
    moved = ndimage.map_coordinates(image, places, order=1, mode="nearest")
    rows, columns = (np.clip(np.rint(p), 0, _SIDE - 1).astype(np.intp) for p in places)
    return moved, {name: mask[rows, columns] for name, mask in masks.items()}


def _shown(rng: np.random.Generator, image: Field) -> NDArray[np.uint8]:
    """HU in a window, with the noise and blur of a scanner."""
    image = ndimage.gaussian_filter(image, between(rng, 0.3, 1.3))
    image = image + np.float32(between(rng, 1, 25)) * fields.grain(rng, image.shape, 0.7, 0.7)
    centre, width = rng.uniform(10, 110), rng.uniform(220, 600)
    if rng.random() < 0.2:
        centre, width = rng.uniform(-350, 50), rng.uniform(800, 2000)
    return np.round(255 * ((image - centre) / width + 0.5).clip(0, 1)).astype(np.uint8)


def draw_torso(rng: np.random.Generator) -> Picture:
    """An axial CT of chest or abdomen; what the section does not cut is absent, as are organs left out of a tenth."""
    image, masks = _bent(rng, *_section(rng))
    _recolour(rng, image, masks)
    pixels = np.repeat(_shown(rng, image)[..., None], 3, axis=2)
    state = states(KIND, {name for name, mask in masks.items() if mask.sum() >= _LEAST})
    state[[COLUMN[name] for name, mask in masks.items() if 0 < mask.sum() < _LEAST]] = UNKNOWN
    return Picture(KIND, pixels, {name: mask for name, mask in masks.items() if mask.sum() >= _LEAST}, state)
