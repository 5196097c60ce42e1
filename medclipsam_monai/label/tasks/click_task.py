"""Correction by clicks and boxes: SAM answers from the embedding that the text segmentation left in the cache."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import read_image
from medclipsam_monai.label.server.answers import send_label
from medclipsam_monai.label.server.embedding_cache import MemoryCache, picture_hash
from medclipsam_monai.label.server.models import ServedModels
from medclipsam_monai.label.tasks.clicks import SliceClicks, read_clicks
from medclipsam_monai.label.tasks.options import TextOptions, option, preset_choices, read_text_options, text_config
from medclipsam_monai.label.tasks.text_task import largest_components, options_segmenter
from medclipsam_monai.networks.sam.segmenter import ImageEmbedding
from medclipsam_monai.transforms import DisplayRange, PromptsFromMask
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

_OBJECT = "object"
_BOXES_BYTES = 2**20


class ClickSegmentation(InferTask):
    """Clicks and a box to the mask of one class, on the slices that hold them; with a text, its box counts as well.

    Args:
        models: the networks.
        preset: the preset a client shows first.
    """

    def __init__(self, models: ServedModels, preset: str = "demo") -> None:
        super().__init__(
            type=InferType.DEEPGROW,
            labels=[],
            dimension=2,  # viewers then send the clicks of the slice shown, and replace the mask there only
            description="Segments what is clicked at or boxed; with a text, what the text describes is corrected",
            config=text_config("", preset_choices(preset)),
        )
        self.models = models
        self._boxes: MemoryCache[Tensor] = MemoryCache(_BOXES_BYTES)

    def is_valid(self) -> bool:
        return True

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Segment at the request's clicks, see `read_clicks`; the options are those of `text_config`.

        Returns:
            The file of a label map of 0 and 1, and "label_names", "slices" (of the upright image) and "seconds".

        Raises:
            InputError: an image, a click or an option that cannot be used.
        """
        start = time.perf_counter()
        text = option(request, "text", "")
        options = read_text_options(request, self.config(), text or _OBJECT)
        if len(options.targets) > 1:
            raise InputError(f"clicks correct one class at a time, got {len(options.targets)}; give one text")
        image = read_image(Path(request["image"]), options.slice_axis)
        clicks = read_clicks(request, image.meta["geometry"])
        with self.models.lock:
            labels = self._segment(image, clicks, options, bool(text))
        file = send_label(labels, image.meta["geometry"], request)
        return file, {
            "label_names": {options.targets[0].name: 1},
            "slices": sorted(clicks),
            "seconds": round(time.perf_counter() - start, 3),
        }

    def _segment(
        self, image: MetaTensor, clicks: dict[int, SliceClicks], options: TextOptions, by_text: bool
    ) -> Tensor:
        """(H, W[, D]) uint8."""
        segmenter = options_segmenter(self.models, options)
        display = DisplayRange(options.window).view(image)
        labels = torch.zeros(display.shape[1:], dtype=torch.uint8)
        for number, clicked in clicks.items():
            picture = (display if display.ndim == 3 else display[..., number]).contiguous()
            embedding = segmenter.network.encode_image(picture.unsqueeze(0))[0]
            box = self._text_box(segmenter, picture, embedding, options) if by_text else None
            mask = _decode(segmenter, embedding, clicked, box)
            if options.largest_component:
                mask = largest_components(mask, 1)
            labels[(..., number) if display.ndim == 4 else ...] = mask
        return labels

    def _text_box(
        self, segmenter: TextSegmenter, picture: Tensor, embedding: ImageEmbedding, options: TextOptions
    ) -> Tensor | None:
        """(4,) the box around what the text finds, None where it finds nothing; remembered for the next click."""
        key = f"{picture_hash(picture)} {options}"
        boxes = self._boxes.get(key)
        if boxes is None:
            targets = segmenter.network.encode_targets(options.targets)
            found = segmenter.network.segment_encoded(picture.unsqueeze(0), [embedding], targets)[0]
            (prompt,) = PromptsFromMask(boxes="single")(found.mask)
            boxes = torch.zeros(0, 4) if prompt.boxes is None else prompt.boxes
            self._boxes.put(key, boxes, len(key) + boxes.nbytes)
        return boxes[0] if len(boxes) else None


def _decode(
    segmenter: TextSegmenter, embedding: ImageEmbedding, clicked: SliceClicks, text_box: Tensor | None
) -> Tensor:
    """(H, W) uint8, SAM's single answer to a slice's prompts."""
    prompts = clicked.prompts(text_box)
    probability, _ = segmenter.network.segmenter.decode(embedding, prompts.boxes, prompts.points, prompts.labels)
    return (probability[0, 0].cpu() > segmenter.network.threshold).to(torch.uint8)
