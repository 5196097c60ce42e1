"""What a phantom is: a picture, the masks of what is in it, and the facts that captions may claim about it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from medclipsam_monai.phantoms.shapes import Mask, Picture, inside


@dataclass(frozen=True)
class Target:
    """Something a text can name in a phantom.

    Attributes:
        mask: its visible pixels (H, W) bool.
        side: half of the picture its centre lies in, "left" or "right"; "" where that means nothing (two lungs).
        size: "small" or "large"; "" where the size never varies enough to be worth a word.
        kind: a more exact name ("glioma"); "" where there is none.
    """

    mask: Mask
    side: str = ""
    size: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Scene:
    """A drawn phantom before it is captioned.

    Attributes:
        image: (H, W) float32 in [0, 1].
        targets: what is in the picture, by name; a target that is absent has no entry.
        parts: further structures for training a promptable segmenter, by name.
        toggles: names of the targets that can be flipped alone, everything else staying as it is.
    """

    image: Picture
    targets: Mapping[str, Target]
    parts: Mapping[str, Mask] = field(default_factory=dict)
    toggles: tuple[str, ...] = ()


class Dice:
    """Random streams of one scene, one for each thing drawn, so that flipping one thing leaves the others alone.

    Args:
        task: name of the phantom's task.
        seed: index of the phantom.
        toggle: the target whose presence is the opposite of what the seed says.
    """

    def __init__(self, task: str, seed: int, toggle: str | None = None) -> None:
        self._entropy = (zlib.crc32(task.encode()), seed)
        self.toggle = toggle

    def stream(self, name: str) -> np.random.Generator:
        """The stream of the thing called `name`."""
        return np.random.default_rng((*self._entropy, zlib.crc32(name.encode())))

    def present(self, target: str, probability: float) -> bool:
        """Whether `target` is there: by chance, then flipped if it is the one to flip."""
        return bool(self.stream(f"{target} presence").random() < probability) != (self.toggle == target)


def locate(mask: Mask, large: float = 0.0, kind: str = "") -> Target:
    """A target with its side, and its size where `large`, the area in pixels from which it is large, is given."""
    columns = np.flatnonzero(mask.any(axis=0))
    middle = (columns[0] + columns[-1]) / 2 if len(columns) else 0.0
    size = ("large" if mask.sum() >= large else "small") if large else ""
    return Target(mask, "left" if middle < mask.shape[1] / 2 else "right", size, kind)


def hide(targets: Mapping[str, Target], front: str, margin: float = 150) -> dict[str, Target]:
    """Take the pixels of target `front` from all others; one left with fewer than `margin` pixels is gone."""
    hidden = targets[front].mask
    left = {name: replace(t, mask=t.mask if name == front else t.mask & ~hidden) for name, t in targets.items()}
    return {name: target for name, target in left.items() if name == front or target.mask.sum() >= margin}


def finish(image: Picture, rng: np.random.Generator, gamma: float = 0.15) -> Picture:
    """Random contrast, then [0, 1]."""
    image = np.clip(image, 0, 1) ** np.float32(np.exp(rng.normal(0, gamma)))
    low, high = rng.uniform(0, 0.05), rng.uniform(0.9, 1.0)
    return np.clip(low + image * (high - low), 0, 1).astype(np.float32)


def parts_of(**levels: NDArray[np.float32]) -> dict[str, Mask]:
    """Named levels as masks, empty ones left out."""
    masks = {name: inside(level) for name, level in levels.items()}
    return {name: mask for name, mask in masks.items() if mask.any()}
