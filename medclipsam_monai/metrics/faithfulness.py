"""Whether a saliency map explains the score it is of, with no mask to compare it with: insertion and deletion.

Petsiuk et al. (RISE, BMVC 2018): show the pixels from the most to the least salient and watch the score come; hide them
in that order and watch it go. Shares of the image are compared, so a large map gains nothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from medclipsam_monai.networks.protocols import TextImageEncoder

_COARSE = 7  # a hidden pixel shows no more than an image of so many pixels a side would


@torch.no_grad()
def insertion_minus_deletion(
    encoder: TextImageEncoder, image: Tensor, text: Tensor, saliency: Tensor, steps: int = 8
) -> Tensor:
    """How much sooner an image fits a text by its salient pixels than by the others.

    Args:
        encoder: a frozen CLIP.
        image: (3, H, W) in [0, 1].
        text: (K, E) unit vectors.
        saliency: maps (K, H, W) of these texts.
        steps: shares of the image that are looked at: 1 / (steps + 1), 2 / (steps + 1), ...

    Returns:
        (K,): mean cosine with the salient share shown minus mean cosine with it hidden; what is hidden is blurred.
    """
    picture, maps = image.to(encoder.device), saliency.to(encoder.device)
    hidden = _blurred(picture)
    rank = maps.flatten(1).argsort(dim=1, descending=True).argsort(dim=1).view_as(maps) / maps[0].numel()
    shares = torch.arange(1, steps + 1, device=maps.device) / (steps + 1)
    scores = []
    for vector, order in zip(text.to(maps.device), rank, strict=True):
        shown = (order < shares.view(-1, 1, 1)).unsqueeze(1)
        batch = torch.cat([torch.where(shown, picture, hidden), torch.where(shown, hidden, picture)])
        cosine = encoder.encode_image(batch) @ vector
        scores.append(cosine[:steps].mean() - cosine[steps:].mean())
    return torch.stack(scores).cpu()


def _blurred(picture: Tensor) -> Tensor:
    """The picture (3, H, W) with only its coarsest features left."""
    coarse = F.interpolate(picture[None], (_COARSE, _COARSE), mode="area")
    return F.interpolate(coarse, picture.shape[-2:], mode="bilinear", align_corners=False)[0]
