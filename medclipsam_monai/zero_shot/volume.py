"""A volume as a stack of pictures along its last axis, which go through the networks in batches."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from medclipsam_monai.base.checked_fields import Range, check_value
from medclipsam_monai.base.memory_cache import MemoryCache
from medclipsam_monai.zero_shot.encoded import EncodedTexts, batch_starts
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter
from medclipsam_monai.zero_shot.result import ZeroShotResult
from medclipsam_monai.zero_shot.volume_result import VolumeResult, check_maps

SLICE_BATCHES = Range(1, 256)


def segment_volume(
    network: ZeroShotSegmenter,
    volume: Tensor,
    texts: EncodedTexts,
    slice_batch: int = 4,
    progress: bool = False,
    keep: Collection[str] = (),
    memory: MemoryCache[Any] | None = None,
    owner: Hashable = None,
) -> VolumeResult:
    """Segment a volume (3, H, W, D) in [0, 1] slice by slice along D.

    Args:
        network: the zero-shot network.
        volume: display range, three equal channels, which may share their memory, or colours.
        texts: from ``network.encode_texts``.
        slice_batch: slices that go through the networks together, from 1 to 256.
        progress: show a bar.
        keep: maps to keep, of "saliency" and "probability": 4 bytes a voxel and class each.
        memory: keeps what the networks make of the slices, within its bound; None for nothing.
        owner: of the slices in ``memory``.

    Returns:
        One result, stacked along D.

    Raises:
        InputError: a batch out of its range, or an unknown map.
    """
    check_value("slice_batch", slice_batch, int, SLICE_BATCHES)
    depth = volume.shape[-1]
    stack = VolumeStack(depth, keep)
    for first in batch_starts(depth, slice_batch, progress):
        pictures = volume[..., first : first + slice_batch].movedim(-1, 0).contiguous()
        names = [(owner, first + k) for k in range(len(pictures))]
        for result in network.segment_encoded(network.encode_images(pictures, memory, names), texts):
            stack.add(result)
    return stack.result()


class VolumeStack:
    """Results of slices, in their order, to the result of the volume.

    Args:
        depth: how many slices there will be.
        keep: the `MAPS` to keep.

    Raises:
        InputError: an unknown map.
    """

    def __init__(self, depth: int, keep: Collection[str] = ()) -> None:
        check_maps(keep)
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
            picture=self._slices[self.depth // 2].picture,
        )
