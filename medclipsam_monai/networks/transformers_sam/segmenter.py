"""SAM 2, EdgeTAM, SAM-HQ and SAM 3's tracker as one kind of promptable segmenter, through transformers.

Papers: SAM 2 arXiv:2408.00714, EdgeTAM arXiv:2501.07256, SAM-HQ arXiv:2306.01567, SAM 3 arXiv:2511.16719. The networks
are the library's; what is here puts pictures and prompts in as the library's own processors do, and masks back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medclipsam_monai.networks.sam.mask_prompts import mask_logits
from medclipsam_monai.networks.sam.prompt_checks import check_prompts
from medclipsam_monai.networks.transformers_sam.frames import Frame


@dataclass(frozen=True)
class PictureEmbedding:
    """What a network knows of one picture.

    Attributes:
        features: the network's maps (1, ...), in its own order; the decoder takes them all.
        image_shape: rows and columns of the picture.
    """

    features: tuple[Tensor, ...]
    image_shape: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Of the features."""
        return sum(part.nbytes for part in self.features)


@dataclass(frozen=True)
class Prediction:
    """All that a network says of N prompts.

    Attributes:
        logits: (N, M, H, W) in the picture's pixels; above 0 is the object. M = 3 or 1.
        quality: predicted IoU (N, M).
        low_resolution: the same logits as the decoder gives them, (N, M, h, w) over the network's square: `masks` of
            a next call.
        object_scores: logits (N,) that there is an object where the prompt points: negative is a sign of absence.
            None for a family without them, SAM-HQ.
    """

    logits: Tensor
    quality: Tensor
    low_resolution: Tensor
    object_scores: Tensor | None


class _NoPositions(nn.Module):
    """In place of the sine positions of the neck's maps, which only a video's memory reads."""

    def forward(self, shape: Any, device: Any = None, dtype: Any = None, *_: Any, **__: Any) -> Tensor:
        return torch.zeros(1, 1, 1, 1, device=device, dtype=dtype)


class TransformersSegmenter(nn.Module):
    """A frozen promptable network of transformers, as `PromptableSegmenter` asks for.

    `decode` gives the protocol's two values. `predict` takes the same prompts and gives all that the network says, the
    object scores among it; nothing in this package takes an object for absent by them.

    Args:
        network: a ``Sam2Model``, ``EdgeTamModel``, ``SamHQModel`` or ``Sam3TrackerModel``; what it computes for videos
            alone is taken out, in place.
        frame: how pictures lie in its input.
        decode_chunk: how many prompts are decoded together.
    """

    takes_masks = True

    def __init__(self, network: nn.Module, frame: Frame, decode_chunk: int = 16) -> None:
        super().__init__()
        self.network: Any = network.eval().requires_grad_(False)
        neck: Any = getattr(network.vision_encoder, "neck", None)
        if hasattr(neck, "position_encoding"):
            neck.position_encoding = _NoPositions()
        self.frame = frame
        self.decode_chunk = decode_chunk
        self._takes_blocks = hasattr(network.mask_decoder, "hq_token")

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""
        return self.frame.side

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def mask_logits(self, masks: Tensor) -> Tensor:
        """Masks (N, H, W) in a picture's pixels, in [0, 1], to what `predict` takes, see `mask_logits`."""
        settings = self.network.config.prompt_encoder_config
        side = 4 * int(settings.image_size) // int(settings.patch_size)
        inner = self.frame.inner((int(masks.shape[-2]), int(masks.shape[-1])))
        return mask_logits(masks, inner, self.frame.side, side)

    @torch.no_grad()
    def encode(self, image: Tensor) -> list[PictureEmbedding]:
        """Encode pictures, once for all later prompts.

        Args:
            image: (B, 3, H, W) in [0, 1].

        Returns:
            One embedding a picture, in float32 also where autocast computes in half precision.
        """
        inputs = self.frame.prepare(image, self.device)
        maps = [part.float() for part in self._maps(inputs)]
        shape = (int(image.shape[-2]), int(image.shape[-1]))
        # Alone, one picture's view would hold the memory of the whole batch.
        return [
            PictureEmbedding(tuple(part[number : number + 1].clone() for part in maps), shape)
            for number in range(len(image))
        ]

    def _maps(self, inputs: Tensor) -> Sequence[Tensor]:
        """What is kept of pictures (B, 3, side, side): maps (B, ...)."""
        found: Sequence[Any] = self.network.get_image_embeddings(inputs)
        # of the blocks' outputs SAM-HQ's decoder reads the first
        return (found[0], found[1][0]) if self._takes_blocks else found

    def _decoded(self, maps: list[Tensor]) -> list[Tensor]:
        """What is kept of a picture as the decoder reads it."""
        return maps

    def decode(
        self,
        embedding: PictureEmbedding,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        multimask: bool = False,
        masks: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Masks for N prompts in one picture, see `predict`.

        Returns:
            probability (N, M, H, W) in [0, 1] and predicted IoU (N, M), M = 3 or 1.

        Raises:
            ValueError: if there is no prompt, or shapes do not belong together.
        """
        found = self.predict(embedding, boxes, points, labels, multimask, masks)
        return found.logits.sigmoid(), found.quality

    @torch.no_grad()
    def predict(
        self,
        embedding: PictureEmbedding,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        multimask: bool = False,
        masks: Tensor | None = None,
    ) -> Prediction:
        """All that the network says of N prompts; a prompt is a box, a set of points, or both.

        Args:
            embedding: from `encode`.
            boxes: (N, 4) x0, y0, x1, y1 in the picture's pixels.
            points: (N, P, 2) x, y in the picture's pixels.
            labels: (N, P), 1 foreground, 0 background, -1 padding.
            multimask: three answers per prompt instead of one. SAM-HQ sorts them, the best first.
            masks: logits (N, h, w), a first guess for each prompt, from an earlier call's `Prediction.low_resolution`
                or from `mask_logits`.

        Raises:
            ValueError: if there is no prompt, or shapes do not belong together.
        """
        count = check_prompts(boxes, points, labels, masks)
        chunk = self.decode_chunk if masks is None else 1  # transformers takes one mask a picture
        prompts = {"boxes": boxes, "points": points, "labels": labels, "masks": masks}
        parts = []
        for start in range(0, count, chunk):
            some = {name: value[start : start + chunk] for name, value in prompts.items() if value is not None}
            parts.append(self._predict(embedding, some, multimask))
        scores = [part.object_scores for part in parts if part.object_scores is not None]
        return Prediction(
            torch.cat([part.logits for part in parts]),
            torch.cat([part.quality for part in parts]),
            torch.cat([part.low_resolution for part in parts]),
            torch.cat(scores) if scores else None,
        )

    def _predict(self, embedding: PictureEmbedding, prompts: dict[str, Tensor], multimask: bool) -> Prediction:
        device, scale = self.device, self.frame.scale(embedding.image_shape).to(self.device)
        features = self._decoded([part.to(device) for part in embedding.features])
        given: dict[str, Any] = {"image_embeddings": features}
        if self._takes_blocks:
            given = {"image_embeddings": features[0], "intermediate_embeddings": features[1:]}
        if "boxes" in prompts:
            given["input_boxes"] = (prompts["boxes"].to(device).float().view(1, -1, 2, 2) * scale).flatten(2)
        if "points" in prompts:
            given["input_points"] = prompts["points"].to(device).float()[None] * scale
            given["input_labels"] = prompts["labels"].to(device).long()[None]
        if "masks" in prompts:
            given["input_masks"] = prompts["masks"].to(device).float()[None]
        found = self.network(**given, multimask_output=multimask)
        low_resolution = found.pred_masks[0].float()
        scores = getattr(found, "object_score_logits", None)
        return Prediction(
            self.frame.restore(low_resolution, embedding.image_shape),
            found.iou_scores[0].float(),
            low_resolution,
            None if scores is None else scores.float().reshape(-1),
        )
