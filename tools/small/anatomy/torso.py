"""CT of chest and abdomen: sections of the package's phantom torso, with other shapes, contrasts and windows."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medclipsam_monai.phantoms.seeds import TORSO_TRAINING
from medclipsam_monai.phantoms.volumes.torso import TARGETS, TASK, Torso
from tools.small.anatomy import fields
from tools.small.anatomy.fields import Field, between
from tools.small.anatomy.sections import Body, recoloured, told
from tools.small.anatomy.surroundings import lay_beside
from tools.small.pictures import Picture

KIND = "torso_ct"
_BODY = Body(
    partial(Torso, varied=True),
    TASK,
    TARGETS,
    TORSO_TRAINING,
    missing=0.15,
    whole=(-125, 110),
    often=(-70, 12),
    step=(0.85, 1.5),
    stretch=((0.84, 1.14), (0.88, 1.35)),
)
"""Most sections are of the upper abdomen; bodies are slim and stout, as wide as the picture or two thirds of it."""
_BRIGHTNESS = {"heart": (25.0, 210.0), "liver": (35.0, 150.0), "kidneys": (25.0, 240.0), "aorta": (25.0, 330.0)}
"""HU of the organs, from no contrast medium to much."""


def _recolour(rng: np.random.Generator, image: Field, masks: dict[str, NDArray[np.bool_]]) -> None:
    """Give every organ another brightness and texture, in place; the spleen is often much like the liver."""
    values = {name: rng.uniform(*ends) for name, ends in _BRIGHTNESS.items()}
    values["spleen"] = values["liver"] + rng.normal(5, 18) if rng.random() < 0.7 else rng.uniform(35, 170)
    for name, value in values.items():
        if name in masks:
            recoloured(rng, image, masks[name], value, 12)
    image += np.float32(rng.uniform(0, 14)) * fields.smooth(rng, image.shape, 14, 14) * (image > -300)


def _shown(rng: np.random.Generator, image: Field) -> Field:
    """HU in a window, with the noise and blur of a scanner."""
    image = ndimage.gaussian_filter(image, between(rng, 0.3, 1.3))
    image = image + np.float32(between(rng, 1, 25)) * fields.grain(rng, image.shape, 0.7, 0.7)
    centre, width = rng.uniform(10, 110), rng.uniform(220, 600)
    if rng.random() < 0.2:
        centre, width = rng.uniform(-350, 50), rng.uniform(800, 2000)
    return (image - centre) / width + 0.5


def draw_torso(rng: np.random.Generator) -> Picture:
    """An axial CT of chest or abdomen; what it does not cut is absent, as are organs left out of every seventh.

    Some lie with their arms beside them, and on a table.
    """
    image, masks = _BODY.section(rng)
    _recolour(rng, image, masks)
    lay_beside(rng, image)
    return told(KIND, _shown(rng, image), masks)
