"""Sections of the package's phantom bodies: where they are cut, other shapes and brightness, what is told of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medclipsam_monai.phantoms.scene import Dice
from medclipsam_monai.phantoms.seeds import SeedRange
from medclipsam_monai.phantoms.shapes import Frame
from medclipsam_monai.phantoms.volumes.head import Head
from medclipsam_monai.phantoms.volumes.solids import Section
from medclipsam_monai.phantoms.volumes.torso import Torso
from tools.small.anatomy import fields
from tools.small.anatomy.fields import Field, between
from tools.small.pictures import Picture
from tools.small.texts.words import COLUMN, UNKNOWN, states

SIDE = 224
_LEAST = 25
"""Pixels of a mask: fewer are neither shown nor missing."""
Masks = Mapping[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Body:
    """A phantom body and how it is cut.

    Attributes:
        kind: makes a patient, from seed and what is left out.
        task: its name.
        targets: what may lie in it.
        seeds: of its patients.
        missing: share of the patients that lack a target.
        whole: lowest and highest section, in units of the body.
        often: where most sections lie.
        step: least and most of a pixel's side, in units.
        stretch: least and most by which a body is narrower than drawn, and by which it is flatter.
    """

    kind: Callable[[Dice, Collection[str]], Torso | Head]
    task: str
    targets: tuple[str, ...]
    seeds: SeedRange
    missing: float
    whole: tuple[float, float]
    often: tuple[float, float]
    step: tuple[float, float]
    stretch: tuple[tuple[float, float], tuple[float, float]] = ((0.88, 1.14), (0.88, 1.14))

    def section(self, rng: np.random.Generator) -> tuple[Field, dict[str, NDArray[np.bool_]]]:
        """An axial section of a patient, bent, and where what it shows lies."""
        (seed,) = self.seeds.seeds(1, int(rng.integers(self.seeds.count)))
        without = [name for name in self.targets if rng.random() < self.missing]
        z = rng.uniform(*(self.often if rng.random() < 0.6 else self.whole))
        drawn = self.kind(Dice(self.task, seed), without).draw(self._cut(rng, z), 0)
        return _bent(rng, drawn.image, drawn.masks)

    def _cut(self, rng: np.random.Generator, z: float) -> Section:
        """A section at a height, the body off the middle and of another breadth and depth than it was drawn."""
        step = between(rng, *self.step)
        x, y = ((np.arange(SIDE, dtype=np.float32) - np.float32(SIDE / 2)) * np.float32(step) for _ in range(2))
        x, y = (at * np.float32(between(rng, *ends)) for at, ends in zip((x, y), self.stretch, strict=True))
        frame = Frame((x + np.float32(rng.normal(0, 6)))[None], (y + np.float32(rng.normal(0, 6)))[:, None])
        return Section(frame, z, max(2.0, step))


def _bent(rng: np.random.Generator, image: Field, masks: Masks) -> tuple[Field, dict[str, NDArray[np.bool_]]]:
    """Other shapes: all is moved by a smooth field."""
    places = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    for cells, most in ((4, 9.0), (9, 3.0)):
        amount = np.float32(rng.uniform(0, most))
        places += amount * np.stack([fields.smooth(rng, image.shape, cells, cells) for _ in range(2)])
    moved = ndimage.map_coordinates(image, places, order=1, mode="nearest")
    rows, columns = (np.clip(np.rint(p), 0, SIDE - 1).astype(np.intp) for p in places)
    return moved, {name: mask[rows, columns] for name, mask in masks.items()}


def recoloured(rng: np.random.Generator, image: Field, mask: NDArray[np.bool_], value: float, texture: float) -> None:
    """Give what lies under a mask another brightness and a texture, in place."""
    if mask.any():
        noise = np.float32(rng.uniform(0, texture)) * fields.smooth(rng, image.shape, 20, 20)
        image += ndimage.gaussian_filter(mask.astype(np.float32), 0.8) * (value - np.median(image[mask]) + noise)


def told(kind: str, shown: Field, masks: Masks) -> Picture:
    """A picture in [0, 1] with its masks; what it hardly shows is neither there nor missing, all else is absent."""
    pixels = np.repeat(np.round(255 * shown.clip(0, 1)).astype(np.uint8)[..., None], 3, axis=2)
    large = {name: mask for name, mask in masks.items() if mask.sum() >= _LEAST}
    state = states(kind, set(large))
    state[[COLUMN[name] for name, mask in masks.items() if 0 < mask.sum() < _LEAST]] = UNKNOWN
    return Picture(kind, pixels, large, state)
