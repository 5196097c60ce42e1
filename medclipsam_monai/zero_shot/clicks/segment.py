"""SAM's answer to clicks and boxes, from the embedding that the text segmentation left with the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from medclipsam_monai.prompts import TextTarget
from medclipsam_monai.transforms import PromptsFromMask
from medclipsam_monai.zero_shot.clicks.prompts import SliceClicks
from medclipsam_monai.zero_shot.encoded import EncodedImages
from medclipsam_monai.zero_shot.opened import OpenedImage
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter


@torch.no_grad()
def segment_clicks(
    opened: OpenedImage,
    clicks: Mapping[int, SliceClicks],
    target: TextTarget | None = None,
    segmenter: TextSegmenter | None = None,
) -> Tensor:
    """One mask at the clicks, in the slices that hold some.

    Args:
        opened: the image.
        clicks: by slice of the upright image, 0 for a picture.
        target: a class whose box counts besides, in slices without a drawn box; None for the clicks alone.
        segmenter: with other settings; None for the image's own.

    Returns:
        (H, W[, D]) bool, where SAM's single answer to a slice's prompts is over the threshold.
    """
    segmenter = segmenter or opened.segmenter
    network = segmenter.network
    mask = torch.zeros(opened.display.shape[1:], dtype=torch.bool)
    for number, clicked in clicks.items():
        picture = opened.encoded(number, segmenter=segmenter)
        prompts = clicked.prompts(_text_box(segmenter, picture, [target]) if target else None)
        (embedding,) = picture.embeddings()
        probability, _ = network.segmenter.decode(embedding, prompts.boxes, prompts.points, prompts.labels)
        mask[(..., number) if mask.ndim == 3 else ...] = probability[0, 0].cpu() > network.settings.threshold
    return mask


def _text_box(segmenter: TextSegmenter, picture: EncodedImages, targets: Sequence[TextTarget]) -> Tensor | None:
    """(4,) the box around what the text finds in one picture, None where it finds nothing; kept for the next click."""
    asked = ("text box", segmenter.request(targets).key(""))
    boxes: Tensor | None = picture.recall(0, asked)
    if boxes is None:
        found = segmenter.network.segment_encoded(picture, segmenter.network.encode_texts(tuple(targets)))[0]
        (prompt,) = PromptsFromMask(boxes="single")(found.mask)
        boxes = torch.zeros(0, 4) if prompt.boxes is None else prompt.boxes
        picture.keep(0, asked, boxes)
    return boxes[0] if len(boxes) else None
