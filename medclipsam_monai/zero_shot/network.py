"""MedCLIP-SAMv2's zero-shot chain as one network: text and image to saliency to prompts to masks.

    texts --CLIP--> unit vectors;  image --CLIP--> saliency --> coarse mask --> boxes, points --SAM--> probability

Each image is encoded once by each network, whatever the number of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medclipsam_monai.base.checked_fields import check_options, check_value
from medclipsam_monai.base.devices import autocast
from medclipsam_monai.networks.clip.encoder import CLIPEncoder
from medclipsam_monai.networks.sam.fusion import FUSIONS
from medclipsam_monai.networks.sam.segmenter import ImageEmbedding, SAMSegmenter
from medclipsam_monai.presets.parameters import ChainParameters
from medclipsam_monai.prompts import TextTarget, parse_targets
from medclipsam_monai.saliency.maps import consensus
from medclipsam_monai.transforms import (
    CoarseMask,
    KeepLargestComponents,
    PromptsFromMask,
    VisualPrompts,
    count_components,
)

SaliencyCall = Callable[[CLIPEncoder, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class ZeroShotResult:
    """What was found in one picture; of a volume there is a `VolumeResult`.

    Attributes:
        names: the K classes.
        probability: (K, H, W) in [0, 1].
        mask: (K, H, W) bool; classes may overlap, `label_map` gives each pixel to one.
        coarse: (K, H, W) bool, before SAM.
        saliency: (K, H, W) in [0, 1].
        boxes: a class's box prompts, (n, 4) as x0, y0, x1, y1 in pixels.
        presence: a class's probability of being in the picture, or None where nothing was given to compare it with.
        quality: SAM's own estimate of the masks' IoU, mean over a class's prompts; None where there was none.
    """

    names: tuple[str, ...]
    probability: Tensor
    mask: Tensor
    coarse: Tensor
    saliency: Tensor
    boxes: tuple[Tensor, ...]
    presence: tuple[float | None, ...]
    quality: tuple[float | None, ...]

    @property
    def label_map(self) -> Tensor:
        """(H, W) uint8: 0 background, else the class's place from 1; overlaps go to the more probable class."""
        score = torch.where(self.mask, self.probability, -1.0)
        best, index = score.max(dim=0)
        return torch.where(best >= 0, index + 1, 0).to(torch.uint8)


@dataclass(frozen=True)
class EncodedTargets:
    """Classes as unit vectors.

    Attributes:
        names: K names.
        sentences: for each class the unit vectors of its sentences, (n, E).
        text: (K, E), one mean vector a class.
        opposites: for each class the mean vector (E,) of its opposites, or None.
    """

    names: tuple[str, ...]
    sentences: tuple[Tensor, ...]
    text: Tensor
    opposites: tuple[Tensor | None, ...]


class ZeroShotSegmenter(nn.Module):
    """Text-prompted segmentation without training: a bundle's ``network_def``.

    Args:
        encoder: the CLIP.
        segmenter: the SAM.
        saliency: ``method(encoder, image, text) -> (B, K, H, W)``.
        coarse: saliency (K, H, W) and image (3, H, W) to mask (K, H, W).
        visual_prompt: mask (K, H, W) to K sets of boxes and points.
        prompt_ensemble: what the sentences of one class share: "embeddings" explains their mean vector, as published;
            "maps" explains each sentence and takes the maps' `consensus`, at the cost of one map a sentence.
        fusion: None for SAM's single answer, or how its three are made one: "best", "mean", "score", "staple".
        threshold: of the probability in the final mask.
        presence_threshold: a class with opposites and a presence below it is left empty.
        presence_scale: factor of the cosine difference in the presence's logistic function; None for the CLIP's own
            logit scale.
        amp: run SAM's image encoder in half precision where the device has it: faster, masks nearly the same.
        text: classes to look for where a call names none.

    Raises:
        InputError: an unknown fusion or prompt_ensemble, or a number out of its range.
    """

    def __init__(
        self,
        encoder: CLIPEncoder,
        segmenter: SAMSegmenter,
        saliency: SaliencyCall,
        coarse: Callable[[Any, Any], Any] | None = None,
        visual_prompt: Callable[[Any], list[VisualPrompts]] | None = None,
        prompt_ensemble: str = "embeddings",
        fusion: str | None = None,
        threshold: float = 0.5,
        presence_threshold: float = 0.5,
        presence_scale: float | None = None,
        amp: bool = False,
        text: Any = None,
    ) -> None:
        super().__init__()
        decisions = {
            "prompt_ensemble": prompt_ensemble,
            "fusion": fusion,
            "threshold": threshold,
            "presence_threshold": presence_threshold,
            "presence_scale": presence_scale,
        }
        check_options(ChainParameters, decisions)
        check_value("amp", amp, bool)
        self.encoder, self.segmenter, self.saliency = encoder, segmenter, saliency
        self.coarse = coarse or CoarseMask()
        self.visual_prompt = visual_prompt or PromptsFromMask()
        self.prompt_ensemble, self.fusion = prompt_ensemble, fusion
        self.threshold, self.amp = threshold, amp
        self.presence_threshold, self.presence_scale = presence_threshold, presence_scale
        self.text = text
        self._encoded: dict[tuple[TextTarget, ...], EncodedTargets] = {}

    def forward(self, image: Tensor, text: Any = None) -> Tensor:
        """Probabilities (B, K, H, W) of the classes in pictures (B, 3, H, W) in [0, 1].

        Args:
            image: display pictures.
            text: anything `parse_targets` takes; by default what the network was made with.
        """
        return torch.stack([result.probability for result in self.segment(image, text)])

    def segment(self, image: Tensor, text: Any = None) -> list[ZeroShotResult]:
        """One result a picture; the arguments of `forward`.

        Raises:
            InputError: if there is no text or one the tokenizer cannot take.
        """
        targets = self.encode_targets(parse_targets(self.text if text is None else text))
        return self.segment_encoded(image, self.encode_image(image), targets)

    @torch.no_grad()
    def encode_targets(self, targets: tuple[TextTarget, ...]) -> EncodedTargets:
        """Embed classes; the last ones asked for are remembered, as a folder of images shares its texts."""
        if targets not in self._encoded:
            sentences = tuple(self.encoder.encode_text(list(target.sentences)) for target in targets)
            text = torch.stack([_mean_direction(vectors) for vectors in sentences])
            opposites = tuple(
                _mean_direction(self.encoder.encode_text(list(t.opposites))) if t.opposites else None for t in targets
            )
            names = tuple(target.name for target in targets)
            self._encoded = {targets: EncodedTargets(names, sentences, text, opposites)}
        return self._encoded[targets]

    def encode_image(self, image: Tensor) -> list[ImageEmbedding]:
        """SAM's embeddings of pictures (B, 3, H, W) in [0, 1], to be kept while more is asked about them."""
        with autocast(self.encoder.device, self.amp):
            return self.segmenter.encode(image)

    @torch.no_grad()
    def segment_encoded(
        self, image: Tensor, embeddings: Sequence[ImageEmbedding], targets: EncodedTargets
    ) -> list[ZeroShotResult]:
        """Results for pictures (B, 3, H, W) that SAM has encoded, one a picture."""
        saliency = self._saliency(image.to(self.encoder.device), targets)
        presence = self._presence(image, targets)
        coarse = [torch.as_tensor(self.coarse(*one)) for one in zip(saliency.cpu(), image.cpu(), strict=True)]
        rows = zip(saliency, coarse, embeddings, presence, strict=True)
        return [self._segment_one(*row, targets.names) for row in rows]

    def _saliency(self, image: Tensor, targets: EncodedTargets) -> Tensor:
        """One map a class (B, K, H, W) in [0, 1]."""
        if self.prompt_ensemble == "embeddings":
            return self.saliency(self.encoder, image, targets.text)
        maps = self.saliency(self.encoder, image, torch.cat(targets.sentences))
        parts = maps.split([len(vectors) for vectors in targets.sentences], dim=1)
        return torch.stack([consensus(part.transpose(0, 1)) for part in parts], dim=1)

    def _presence(self, image: Tensor, targets: EncodedTargets) -> list[tuple[float | None, ...]]:
        """For each picture and class: sigmoid(scale (cos(image, text) - cos(image, opposites))), or None."""
        if all(opposite is None for opposite in targets.opposites):
            return [(None,) * len(targets.names)] * len(image)
        embedding = self.encoder.encode_image(image)
        scale = self.encoder.logit_scale if self.presence_scale is None else self.presence_scale
        columns = []
        for text, opposite in zip(targets.text, targets.opposites, strict=True):
            if opposite is None:
                columns.append([None] * len(image))
            else:
                columns.append((scale * (embedding @ (text - opposite))).sigmoid().tolist())
        return list(zip(*columns, strict=True))

    def _segment_one(
        self,
        saliency: Tensor,
        coarse: Tensor,
        embedding: ImageEmbedding,
        presence: tuple[float | None, ...],
        names: tuple[str, ...],
    ) -> ZeroShotResult:
        absent = torch.tensor([p is not None and p < self.presence_threshold for p in presence])
        coarse = coarse & ~absent[:, None, None]
        prompts = self.visual_prompt(coarse)
        decoded = [self._decode(embedding, prompt) for prompt in prompts]
        probability = torch.stack([p for p, _ in decoded])
        mask = KeepLargestComponents(count_components(coarse))(probability > self.threshold)
        return ZeroShotResult(
            names=names,
            probability=probability,
            mask=torch.as_tensor(mask),
            coarse=coarse,
            saliency=saliency.cpu(),
            boxes=tuple(torch.zeros(0, 4) if prompt.boxes is None else prompt.boxes for prompt in prompts),
            presence=presence,
            quality=tuple(quality for _, quality in decoded),
        )

    def _decode(self, embedding: ImageEmbedding, prompts: VisualPrompts) -> tuple[Tensor, float | None]:
        """One class's probability (H, W), the union of its prompts' masks, and SAM's estimate of its quality."""
        if len(prompts) == 0:
            return torch.zeros(embedding.image_shape), None
        multimask = self.fusion is not None
        probability, quality = self.segmenter.decode(
            embedding, prompts.boxes, prompts.points, prompts.labels, multimask=multimask
        )
        single = probability[:, 0] if self.fusion is None else FUSIONS[self.fusion](probability, quality)
        return single.amax(dim=0).cpu(), float(quality.mean())


def _mean_direction(vectors: Tensor) -> Tensor:
    """Unit vector (E,) along the mean of unit vectors (n, E)."""
    return F.normalize(vectors.mean(dim=0), dim=0)
