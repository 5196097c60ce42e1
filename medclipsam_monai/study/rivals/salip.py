"""SaLIP (arXiv:2404.06362): segment everything, ask the CLIP which piece the text is true of, and SAM in its box.

As in the released code a piece is what lies in its mask, on black, cut to its box; the piece of the highest cosine
counts (of what comes in twos, as lungs do, the two highest), and its box is SAM's prompt.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from medclipsam_monai.study.rivals.everything import Everything
from medclipsam_monai.zero_shot.encoded import EncodedImages, EncodedTexts
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter

_IN_TWOS = ("lungs", "kidneys")


def salip(
    network: ZeroShotSegmenter, images: EncodedImages, texts: EncodedTexts, everything: Everything | None = None
) -> Tensor:
    """The mask (H, W) bool of one text in one picture; empty where SAM finds no piece.

    Args:
        network: whose CLIP and SAM are asked.
        images: the picture.
        texts: the text.
        everything: how pieces are found; None for its defaults.
    """
    picture, embedding = images.pictures[0], images.embeddings()[0]
    shape = (int(picture.shape[-2]), int(picture.shape[-1]))
    masks, boxes = (everything or Everything())(network.segmenter, embedding, shape)
    if not len(masks):
        return torch.zeros(shape, dtype=torch.bool)
    scores = crop_vectors(network, picture, masks, boxes) @ texts.text[0].cpu()
    wanted = 2 if any(word in sentence.lower() for word in _IN_TWOS for sentence in texts.sentences[0]) else 1
    chosen = boxes[scores.topk(min(wanted, len(scores))).indices]
    probability, _ = network.segmenter.decode(embedding, boxes=chosen)
    return (probability[:, 0].amax(dim=0) > 0.5).cpu()


def crop_vectors(network: ZeroShotSegmenter, picture: Tensor, masks: Tensor, boxes: Tensor) -> Tensor:
    """Unit vectors (N, E) of the pieces of a picture (3, H, W) that masks (N, H, W) cut out, each alone on black."""
    encoder, vectors = network.encoder, []
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.long().tolist(), strict=True):
        piece = (picture * mask)[:, y0 : y1 + 1, x0 : x1 + 1]
        vectors.append(encoder.encode_image(piece[None])[0].cpu())
    return F.normalize(torch.stack(vectors), dim=-1)
