"""gScoreCAM (Chen et al., ACCV 2022) on a CLIP's vision transformer: the saliency of MedCLIP-SAM's first version.

The channels A_c of the last block's first norm are pictures of what the network saw. Those on which the text's score
depends most, by the mean gradient, are each laid over the image as a mask and scored anew by the whole network:

    s_c = scale cos(text, image * minmax(upsample(A_c))),  L = ReLU(sum_c softmax(s)_c A_c)

with c over the chosen channels only, and scale the CLIP's own logit scale. The released code lets the channels that
were not scored take part in the softmax with score 0, far below the logits of the others. The mask
multiplies the normalised image, so that what it hides becomes the mean colour.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medclipsam_monai.networks.image_tokens import ImageTokens
from medclipsam_monai.networks.protocols import TextImageEncoder
from medclipsam_monai.presets.parameters import GScoreCAMParameters
from medclipsam_monai.saliency.activations import activations_and_importance
from medclipsam_monai.saliency.maps import stretched
from medclipsam_monai.saliency.method import SaliencyMethod


@dataclass(frozen=True)
class GScoreCAM(GScoreCAMParameters, SaliencyMethod):
    """Saliency of texts in images by scored class activations.

    Several texts share the masked images: a channel that more than one of them chose is scored once for all.

    Args:
        channels: how many channels are scored; all of them where the network has fewer.
        batch: masked images that go through the network together.

    Raises:
        InputError: a value of another type or out of its range.
    """

    def grids(self, image: ImageTokens, text: Tensor) -> Tensor:
        """Maps of K texts in B images (B, K, rows, columns), see `SaliencyMethod`."""
        activations, importance = activations_and_importance(image, text)
        chosen = importance.topk(min(self.channels, importance.shape[-1])).indices
        maps = [self._map(image.encoder, *one, text) for one in zip(image.input(), activations, chosen, strict=True)]
        return torch.stack(maps)

    @torch.no_grad()
    def _map(self, encoder: TextImageEncoder, x: Tensor, activations: Tensor, chosen: Tensor, text: Tensor) -> Tensor:
        """Input (3, S, S), activations (C, rows, columns) and channels (K, k) of one image to (K, rows, columns)."""
        scored, place = chosen.unique(return_inverse=True)
        scores = [self._scores(encoder, x, activations[part], text) for part in scored.split(self.batch)]
        weights = torch.cat(scores).T.gather(1, place).softmax(dim=1)
        return torch.einsum("kc,kchw->khw", weights, activations[chosen]).relu()

    def _scores(self, encoder: TextImageEncoder, x: Tensor, activations: Tensor, text: Tensor) -> Tensor:
        """Logits (n, K) of an input (3, S, S) seen through n channels (n, rows, columns)."""
        masks = F.interpolate(activations.unsqueeze(1), x.shape[-2:], mode="bilinear", align_corners=False)
        before = encoder.num_blocks - 2  # of the last block only the class token may be needed
        embedding = encoder.embed(encoder.tokens_of_input(x * stretched(masks), before), before)
        return encoder.logit_scale.float() * (F.normalize(embedding, dim=-1) @ text.to(embedding).T)
