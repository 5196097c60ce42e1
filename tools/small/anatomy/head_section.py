"""MR of the head: sections of the package's phantom head from the crown to the neck, in any contrast."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medclipsam_monai.phantoms.seeds import HEAD_TRAINING
from medclipsam_monai.phantoms.volumes.head import TARGETS, TASK, Head
from tools.small.anatomy import fields
from tools.small.anatomy.fields import Field, between
from tools.small.anatomy.sections import Body, recoloured, told
from tools.small.pictures import Picture
from tools.small.texts.words import COLUMN, UNKNOWN

KIND = "brain_mri"
_BODY = Body(Head, TASK, TARGETS, HEAD_TRAINING, missing=0.25, whole=(-105, 40), often=(-40, 80), step=(0.85, 1.3))
"""Every third section is under the brain, where nothing is found that is looked for."""
_AS_DRAWN = 0.5
"""Share of the pictures that keep the contrast of T1 with contrast medium."""
_TONES = 7
"""Brightnesses of which a curve through all of them makes another contrast."""


def _recolour(rng: np.random.Generator, image: Field, masks: dict[str, NDArray[np.bool_]]) -> Field:
    """Another sequence: a curve for all brightnesses, and for what is looked for a brightness that can be told."""
    if rng.random() < _AS_DRAWN:
        return image
    heights = np.concatenate([[0.02], rng.uniform(0.05, 0.95, _TONES - 1)])
    changed: Field = np.interp(image, np.linspace(0, 1, _TONES), heights).astype(np.float32)
    for mask in masks.values():
        ring = ndimage.binary_dilation(mask, iterations=4) & ~mask
        if mask.any() and ring.any():
            around = float(np.median(changed[ring]))
            value = around + rng.choice([-1, 1]) * rng.uniform(0.15, 0.5)
            recoloured(rng, changed, mask, float(np.clip(value, 0, 1)) if 0 <= value <= 1 else 1 - around, 0.04)
    return changed


def _developed(rng: np.random.Generator, image: Field) -> Field:
    """Bias of the coil, blur, noise and contrast."""
    image = image * np.exp(np.float32(rng.uniform(0, 0.14)) * fields.smooth(rng, image.shape, 3, 3))
    image = ndimage.gaussian_filter(np.clip(image, 0, None), between(rng, 0.3, 1.2))
    image = image + np.float32(between(rng, 0.003, 0.04)) * fields.grain(rng, image.shape, 0.7, 0.7)
    developed: Field = np.clip(image * np.float32(between(rng, 0.7, 1.2)), 0, 1) ** np.float32(between(rng, 0.8, 1.25))
    return developed


def draw_head_section(rng: np.random.Generator) -> Picture:
    """An axial MR of the head; what the section does not cut is absent, as is what a quarter of the patients lack."""
    image, masks = _BODY.section(rng)
    picture = told(KIND, _developed(rng, _recolour(rng, image, masks)), masks)
    picture.state[COLUMN["hippocampus"]] = UNKNOWN
    return picture
