"""GradCAM (Selvaraju et al., ICCV 2017) on a CLIP's vision transformer: the weaker of MedCLIP-SAM's two baselines.

    L = ReLU(sum_c w_c A_c),  w_c = mean over the grid of d cos(text, image) / d A_c

with A the activations of the last block's first norm.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medclipsam_monai.networks.text_image import TextImageEncoder
from medclipsam_monai.saliency.activations import activations_and_importance
from medclipsam_monai.saliency.maps import unit_range


@dataclass(frozen=True)
class GradCAM:
    """Saliency of texts in images by gradient-weighted class activation; it has no parameters."""

    def __call__(self, encoder: TextImageEncoder, image: Tensor, text: Tensor) -> Tensor:
        """Maps of K texts in B images.

        Args:
            encoder: the frozen CLIP.
            image: (B, 3, H, W) in [0, 1].
            text: (K, E) unit vectors.

        Returns:
            (B, K, H, W) in [0, 1]; a constant map gives zeros and a warning.
        """
        activations, importance = activations_and_importance(encoder, encoder.prepare(image), text)
        maps = torch.einsum("bkc,bchw->bkhw", importance, activations).relu()
        return unit_range(encoder.preprocess.restore(maps, (image.shape[-2], image.shape[-1])))
