"""Bodies followed through a volume by the segmenter's memory, in place of asking it anew in each slice.

A body is a component of a class in three dimensions. The segmenter is asked where most of it lights up, and follows it
from there through the run of slices that show the class, upwards and downwards, each way with a memory of its own, as
MedSAM2 does (arXiv:2504.03600); a way ends where its object score is negative.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.protocols import PropagatingSegmenter, Track
from medclipsam_monai.transforms import VisualPrompts
from medclipsam_monai.transforms.components import label_components
from medclipsam_monai.zero_shot.volumes.evidence import VolumeCoarse, VolumeEvidence
from medclipsam_monai.zero_shot.volumes.result import VolumeResult
from medclipsam_monai.zero_shot.volumes.slices import VolumeSlices
from medclipsam_monai.zero_shot.volumes.stages import Stages

_WORKING_SIDE = 64
"""Pixels of a slice's longer side, at most, where bodies are told apart."""
_MOST_BODIES = 16
"""Of a class; those that light up most are followed."""


def check_memory(network: Stages) -> None:
    """Refuse to propagate with a segmenter that cannot.

    Raises:
        InputError: it has no memory.
    """
    if network.settings.volumes == "propagated" and not isinstance(network.segmenter, PropagatingSegmenter):
        raise InputError(
            "volumes=propagated needs a segmenter with a memory (segmenter=transformers_sam with SAM 2.1 or EdgeTAM, "
            f"model_type sam2_video or edgetam_video), got {type(network.segmenter).__name__} without one"
        )


@dataclass(frozen=True)
class Body:
    """What is followed.

    Attributes:
        of: number of its class.
        best: number of the slice in which most of it lights up.
        run: first and last slice of the run that shows its class around that.
        prompts: its boxes and points there.
    """

    of: int
    best: int
    run: tuple[int, int]
    prompts: VisualPrompts


def propagate(
    network: Stages,
    slices: VolumeSlices,
    evidence: VolumeEvidence,
    cut: VolumeCoarse,
    names: tuple[str, ...],
    keep: Collection[str] = (),
) -> VolumeResult:
    """Follow the bodies of K classes through D slices; each slice is encoded at most once a direction.

    Args:
        network: its segmenter is a `PropagatingSegmenter`.
        slices: of the volume.
        evidence: likewise.
        cut: its coarse masks.
        names: of the classes.
        keep: maps to keep, of `MAPS`.

    Returns:
        Boxes are those of the bodies' best slices; no quality, which a memory does not give.
    """
    canvas = _Canvas(len(names), (*slices.shape, len(slices)), network.settings.threshold, keep)
    bodies = _bodies(network, evidence, cut, canvas, _lights(slices, cut, canvas))
    for step in (1, -1):
        bodies = _follow(network, slices, bodies, step, canvas)
    return canvas.result(names)


class _Canvas:
    """The volume's result in the making: a byte a voxel for each mask, two more for overlaps of classes."""

    def __init__(self, classes: int, shape: tuple[int, int, int], threshold: float, keep: Collection[str]) -> None:
        self.threshold, self.maps = threshold, {name: torch.zeros(classes, *shape) for name in keep}
        self.coarse, self.mask = (torch.zeros(classes, *shape, dtype=torch.bool) for _ in range(2))
        self._label_map = torch.zeros(shape, dtype=torch.uint8)
        self._most = torch.zeros(shape if classes > 1 else (0, 0, shape[2]), dtype=torch.float16)
        self._boxes: list[list[Tensor]] = [[torch.zeros(0, 5)] for _ in range(classes)]
        self._scores: list[list[float]] = [[] for _ in range(classes)]

    def prompt(self, body: Body) -> None:
        """Note where a body is asked for."""
        boxes = torch.zeros(0, 4) if body.prompts.boxes is None else body.prompts.boxes.cpu()
        self._boxes[body.of].append(torch.cat([torch.full((len(boxes), 1), float(body.best)), boxes], dim=1))

    def paint(self, of: int, number: int, probability: Tensor, score: float) -> None:
        """Add what was found of a class in a slice: probability (H, W) and an object score."""
        self._scores[of].append(score)
        inside = probability > self.threshold
        self.mask[of, ..., number] |= inside
        if "probability" in self.maps:
            kept = self.maps["probability"][of, ..., number]
            kept.copy_(torch.maximum(kept, probability))
        if len(self.mask) > 1:
            most, rounded = self._most[..., number], probability.half()
            inside = inside & (rounded > most)
            most[inside] = rounded[inside]
        self._label_map[..., number][inside] = of + 1

    def result(self, names: tuple[str, ...]) -> VolumeResult:
        """What was painted."""
        nothing = (None,) * len(names)
        return VolumeResult(
            names=names,
            label_map=self._label_map,
            mask=self.mask,
            coarse=self.coarse,
            boxes=tuple(torch.cat(some) for some in self._boxes),
            presence=nothing,
            quality=nothing,
            object_score=tuple(max(some, default=None) for some in self._scores),
            maps=self.maps,
        )


def _lights(slices: VolumeSlices, cut: VolumeCoarse, canvas: _Canvas) -> Tensor:
    """Fill in the coarse masks; their saliency (K, h, w, D) at the working size, zero where they are not."""
    factor = min(1.0, _WORKING_SIDE / max(slices.shape))
    small = (max(1, round(slices.shape[0] * factor)), max(1, round(slices.shape[1] * factor)))
    lights = []
    for number in range(len(slices)):
        saliency = cut.saliency(number)
        coarse = cut.mask(number, saliency, slices.pictures([number])[0])
        canvas.coarse[..., number] = coarse
        if "saliency" in canvas.maps:
            canvas.maps["saliency"][..., number] = saliency
        # A light of nothing in the mask would be none of it.
        lights.append(F.adaptive_max_pool2d(saliency.clamp_min(1e-6) * coarse, small))
    return torch.stack(lights, dim=-1)


def _bodies(
    network: Stages, evidence: VolumeEvidence, cut: VolumeCoarse, canvas: _Canvas, lights: Tensor
) -> list[Body]:
    """The bodies of all classes, from their lights (K, h, w, D)."""
    found = []
    for of, light in enumerate(lights.numpy()):
        labels, count = label_components(light > 0)
        sums = [
            np.bincount(labels[..., number].ravel(), light[..., number].ravel(), count + 1)
            for number in range(light.shape[-1])
        ]
        by_slice = np.stack(sums, axis=1)[1:] * np.nan_to_num(evidence.presence[:, of].numpy(), nan=1.0)
        for body in np.argsort(-by_slice.sum(axis=1), kind="stable")[:_MOST_BODIES]:
            best = int(by_slice[body].argmax())
            where = torch.from_numpy(labels[..., best] == body + 1).float()[None, None]
            coarse = canvas.coarse[of, ..., best]
            part = coarse & (F.interpolate(where, tuple(coarse.shape), mode="nearest")[0, 0] > 0)
            (prompts,) = network.visual_prompts(part[None])
            if len(prompts):
                found.append(Body(of, best, _run(cut.present[:, of], best), prompts))
                canvas.prompt(found[-1])
    return found


def _run(shown: Tensor, inside: int) -> tuple[int, int]:
    """First and last of the true values (D,) around one of them."""
    gaps = [-1, *(~shown).nonzero().flatten().tolist(), len(shown)]
    return max(gap for gap in gaps if gap < inside) + 1, min(gap for gap in gaps if gap > inside) - 1


class _Walk:
    """A body on its way in one direction, until it is lost or its run ends."""

    def __init__(self, body: Body, step: int, segmenter: PropagatingSegmenter) -> None:
        self.body, self.left = body, range(body.best, body.run[step > 0] + step, step)
        self._track: Track | None = segmenter.track(body.run[1] - body.run[0] + 1)
        self._lost = torch.zeros(len(body.prompts), dtype=torch.bool)

    def go(self, embedding: object) -> tuple[Tensor, float]:
        """Probability (H, W) in the next slice and the greatest object score; what is lost stays lost."""
        assert self._track is not None
        if self.left[0] == self.body.best:
            prompts = self.body.prompts
            found = self._track.begin(embedding, prompts.boxes, prompts.points, prompts.labels)
        else:
            found = self._track.follow(embedding)
        scores = found.object_scores.cpu()
        self._lost |= scores < 0
        self.left = range(0) if self._lost.all() else self.left[1:]
        if not self.left:
            self._track = None  # its memory is free for others
        seen = (~self._lost).view(-1, 1, 1)
        return (found.probability.cpu() * seen).amax(dim=0), float(scores.max())


def _follow(network: Stages, slices: VolumeSlices, bodies: Sequence[Body], step: int, canvas: _Canvas) -> list[Body]:
    """Paint what is found on the way in one direction; the bodies that their own best slices show."""
    segmenter = network.segmenter
    assert isinstance(segmenter, PropagatingSegmenter)
    walks = [_Walk(body, step, segmenter) for body in bodies]
    seen = []
    total = -(-len({number for walk in walks for number in walk.left}) // slices.batch)
    for numbers in slices.shown("following through", _ahead(walks, slices.batch, step), total):
        embeddings = slices.encoded(numbers).embeddings()
        for number, embedding in zip(numbers, embeddings, strict=True):
            for walk in walks:
                if not walk.left or walk.left[0] != number:
                    continue
                probability, score = walk.go(embedding)
                if number == walk.body.best and score >= 0:
                    seen.append(walk.body)
                if number != walk.body.best or step > 0:  # the way back begins where the other began
                    canvas.paint(walk.body.of, number, probability, score)
    return seen


def _ahead(walks: Sequence[_Walk], batch: int, step: int) -> Iterator[list[int]]:
    """The slices to come, as long as any walk goes on."""
    while numbers := sorted({number for walk in walks for number in walk.left}, reverse=step < 0)[:batch]:
        yield numbers
