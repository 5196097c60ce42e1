"""What was found in a volume, kept in a few bytes a voxel: maps of numbers only where they are asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from medclipsam_monai.base.errors import InputError

if TYPE_CHECKING:
    from medclipsam_monai.zero_shot.network import ZeroShotResult

MAPS = ("saliency", "probability")
"""What a volume's result holds on request: 4 bytes a voxel and class each."""


@dataclass(frozen=True)
class VolumeResult:
    """What was found in a volume, as a stack of slices along a last axis D.

    It has all that a `ZeroShotResult` has; `saliency` and `probability` only where they were kept.

    Attributes:
        names: the K classes.
        label_map: (H, W, D) uint8: 0 background, else the class's place from 1; overlaps went to the more probable one.
        mask: (K, H, W, D) bool; classes may overlap.
        coarse: (K, H, W, D) bool, before SAM.
        boxes: a class's box prompts, (n, 5) as slice index, x0, y0, x1, y1 in pixels.
        presence: a class's greatest probability over slices of being in the picture, or None where nothing was given to
            compare it with.
        quality: SAM's own estimate of the masks' IoU, mean over slices; None where there was none.
        maps: (K, H, W, D) float32 in [0, 1] by name, of `MAPS`.
    """

    names: tuple[str, ...]
    label_map: Tensor
    mask: Tensor
    coarse: Tensor
    boxes: tuple[Tensor, ...]
    presence: tuple[float | None, ...]
    quality: tuple[float | None, ...]
    maps: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def saliency(self) -> Tensor:
        """(K, H, W, D) in [0, 1].

        Raises:
            InputError: it was not kept.
        """
        return self._kept("saliency")

    @property
    def probability(self) -> Tensor:
        """(K, H, W, D) in [0, 1].

        Raises:
            InputError: it was not kept.
        """
        return self._kept("probability")

    def _kept(self, name: str) -> Tensor:
        if name not in self.maps:
            raise InputError(f"a volume's {name} is kept on request only: segment it with keep=({name!r},)")
        return self.maps[name]


class VolumeStack:
    """Results of slices, in their order, to the result of the volume.

    Args:
        depth: how many slices there will be.
        keep: the `MAPS` to keep.

    Raises:
        InputError: an unknown map.
    """

    def __init__(self, depth: int, keep: Collection[str] = ()) -> None:
        for name in keep:
            if name not in MAPS:
                raise InputError(f"keep must hold some of {', '.join(MAPS)}, got {name!r}")
        self.depth, self.keep = depth, tuple(keep)
        self._slices: list[ZeroShotResult] = []
        self._stacks: dict[str, Tensor] = {}

    def add(self, result: ZeroShotResult) -> None:
        """Take the next slice."""
        place = len(self._slices)
        for name in ("label_map", "mask", "coarse", *self.keep):
            part: Tensor = getattr(result, name)
            if place == 0:
                self._stacks[name] = torch.zeros(*part.shape, self.depth, dtype=part.dtype)
            self._stacks[name][..., place] = part
        nothing = torch.zeros(0)
        self._slices.append(replace(result, mask=nothing, coarse=nothing, saliency=nothing, probability=nothing))

    def result(self) -> VolumeResult:
        """The volume, once all slices are there."""
        boxes, presence, quality = [], [], []
        for k in range(len(self._slices[0].names)):
            slices = enumerate(self._slices)
            indexed = [torch.cat([torch.full((len(r.boxes[k]), 1), d), r.boxes[k]], 1) for d, r in slices]
            boxes.append(torch.cat(indexed))
            presence.append(max((p for r in self._slices if (p := r.presence[k]) is not None), default=None))
            qualities = [q for r in self._slices if (q := r.quality[k]) is not None]
            quality.append(sum(qualities) / len(qualities) if qualities else None)
        return VolumeResult(
            names=self._slices[0].names,
            label_map=self._stacks["label_map"],
            mask=self._stacks["mask"],
            coarse=self._stacks["coarse"],
            boxes=tuple(boxes),
            presence=tuple(presence),
            quality=tuple(quality),
            maps={name: self._stacks[name] for name in self.keep},
        )
