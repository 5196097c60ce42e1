"""A volume as a stack of pictures along its last axis, which go through the networks in batches."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from medclipsam_monai.base.checked_fields import Range, check_value
from medclipsam_monai.base.memory_cache import MemoryCache
from medclipsam_monai.zero_shot.encoded import EncodedImages, EncodedTexts
from medclipsam_monai.zero_shot.result import ZeroShotResult
from medclipsam_monai.zero_shot.volumes.agreement import Asked, in_agreement
from medclipsam_monai.zero_shot.volumes.ahead import ahead
from medclipsam_monai.zero_shot.volumes.evidence import VolumeCoarse, VolumeEvidence, gather, present_slices
from medclipsam_monai.zero_shot.volumes.progress import Progress
from medclipsam_monai.zero_shot.volumes.propagation import check_memory, propagate
from medclipsam_monai.zero_shot.volumes.result import VolumeResult, check_maps
from medclipsam_monai.zero_shot.volumes.slices import VolumeSlices
from medclipsam_monai.zero_shot.volumes.stages import Stages

SLICE_BATCHES = Range(1, 256)


def segment_volume(
    network: Stages,
    volume: Tensor,
    texts: EncodedTexts,
    step: float | None = None,
    slice_batch: int = 4,
    progress: Progress = False,
    keep: Collection[str] = (),
    memory: MemoryCache[Any] | None = None,
    owner: Hashable = None,
) -> VolumeResult:
    """Segment a volume (3, H, W, D) in [0, 1].

    With the setting ``volumes`` "whole" all slices are looked at before any is segmented, see `VolumeEvidence`; the
    segmenter is given those alone in which something is looked for. With "propagated" it is asked in one slice of each
    body, and follows what it found from there, see `propagate`.

    Args:
        network: the zero-shot network.
        volume: display range, three equal channels, which may share their memory, or colours.
        texts: from ``network.encode_texts``.
        step: mm from slice to slice, see `slice_distance`; None where unknown.
        slice_batch: slices that go through the networks together, from 1 to 256.
        progress: see `Progress`.
        keep: maps to keep, of "saliency" and "probability": 4 bytes a voxel and class each.
        memory: keeps what the networks make of the slices, within its bound; None for nothing.
        owner: of the slices in ``memory``; a tuple's first thing is the owner, the rest tells stacks of it apart.

    Returns:
        One result, stacked along D.

    Raises:
        InputError: a batch out of its range, an unknown map, or a segmenter without a memory where one is needed.
    """
    check_value("slice_batch", slice_batch, int, SLICE_BATCHES)
    check_maps(keep)
    check_memory(network)
    slices = VolumeSlices(network, volume, slice_batch, progress, memory, owner)
    if network.settings.volumes == "slices":
        stack = VolumeStack(len(slices), keep)
        for _, images in slices.batches("segmenting"):
            for result in network.segment_encoded(images, texts):
                stack.add(result)
        return stack.result()
    reach = 0 if not step else round(network.settings.slab / step / 2)
    evidence = gather(network, (images for _, images in slices.batches("looking at", reach)), texts, len(slices), step)
    present = present_slices(evidence.presence, network.settings.presence_threshold)
    cut = VolumeCoarse(evidence, network.coarse, network.encoder.restore, slices.shape, present)
    if network.settings.volumes == "propagated":
        found = propagate(network, slices, evidence, cut, texts.names, keep)
    else:
        stack = VolumeStack(len(slices), keep)
        for result in in_agreement(network, _segmented(network, slices, evidence, cut, texts)):
            stack.add(result)
        found = stack.result()
    presence = [None if one.isnan().any() else float(one.max()) for one in evidence.presence.T]
    return replace(found, presence=tuple(presence), picture=evidence.picture)


def slice_distance(spacing: Sequence[float] | None) -> float | None:
    """mm from slice to slice of a volume's spacing along H, W and D; None where it is unknown."""
    return None if spacing is None or len(spacing) < 3 else float(spacing[2])


def _segmented(
    network: Stages, slices: VolumeSlices, evidence: VolumeEvidence, cut: VolumeCoarse, texts: EncodedTexts
) -> Iterator[Asked]:
    """Every slice with what the segmenter makes of it, where anything is looked for."""
    presence = [tuple(None if p != p else p for p in row) for row in evidence.presence.tolist()]
    parts = slices.parts()
    batches = ahead(_cut(network, slices, cut, numbers) for numbers in parts)
    for batch in slices.shown("segmenting", batches, len(parts)):
        told = [presence[number] for number in batch.numbers]
        results = network.segment_coarse(batch.images, texts.names, batch.saliency, batch.coarse, told)
        yield from (Asked(result, batch.images, k) for k, result in enumerate(results))


@dataclass(frozen=True)
class _Cut:
    """Some slices, their maps (K, H, W) and coarse masks (K, H, W)."""

    numbers: range
    images: EncodedImages
    saliency: list[Tensor]
    coarse: list[Tensor]


def _cut(network: Stages, slices: VolumeSlices, cut: VolumeCoarse, numbers: range) -> _Cut:
    """What is looked for in some slices; on a CPU the segmenter sees those of them that show anything."""
    images = slices.encoded(numbers)
    saliency = [cut.saliency(number) for number in numbers]
    coarse = [cut.mask(*of) for of in zip(numbers, saliency, images.pictures, strict=True)]
    if network.encoder.device.type == "cpu":  # another device works beside this thread as it is
        images.embeddings([k for k, masks in enumerate(coarse) if masks.any()])
    return _Cut(numbers, images, saliency, coarse)


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
                self._stacks[name] = torch.zeros(self.depth, *part.shape, dtype=part.dtype).movedim(0, -1)
            if part.any():  # most slices of a volume show none
                self._stacks[name][..., place] = part
        nothing = torch.zeros(0)
        self._slices.append(replace(result, mask=nothing, coarse=nothing, saliency=nothing, probability=nothing))

    def result(self) -> VolumeResult:
        """The volume, once all slices are there."""
        boxes, presence, quality, scores = [], [], [], []
        for k in range(len(self._slices[0].names)):
            slices = enumerate(self._slices)
            indexed = [torch.cat([torch.full((len(r.boxes[k]), 1), d), r.boxes[k]], 1) for d, r in slices]
            boxes.append(torch.cat(indexed))
            presence.append(max((p for r in self._slices if (p := r.presence[k]) is not None), default=None))
            qualities = [q for r in self._slices if (q := r.quality[k]) is not None]
            quality.append(sum(qualities) / len(qualities) if qualities else None)
            scores.append(max((s for r in self._slices if (s := r.object_score[k]) is not None), default=None))
        return VolumeResult(
            names=self._slices[0].names,
            label_map=self._stacks["label_map"],
            mask=self._stacks["mask"],
            coarse=self._stacks["coarse"],
            boxes=tuple(boxes),
            presence=tuple(presence),
            quality=tuple(quality),
            object_score=tuple(scores),
            maps={name: self._stacks[name] for name in self.keep},
            picture=self._slices[self.depth // 2].picture,
        )
