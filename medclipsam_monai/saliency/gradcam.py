"""GradCAM (Selvaraju et al., ICCV 2017) on a CLIP's vision transformer: the weaker of MedCLIP-SAM's two baselines.

    L = ReLU(sum_c w_c A_c),  w_c = mean over the grid of d cos(text, image) / d A_c

with A the activations of the last block's first norm.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medclipsam_monai.networks.image_tokens import ImageTokens
from medclipsam_monai.presets.parameters import NoParameters
from medclipsam_monai.saliency.activations import activations_and_importance
from medclipsam_monai.saliency.method import SaliencyMethod


@dataclass(frozen=True)
class GradCAM(NoParameters, SaliencyMethod):
    """Saliency of texts in images by gradient-weighted class activation; it has no parameters."""

    def grids(self, image: ImageTokens, text: Tensor) -> Tensor:
        """Maps of K texts in B images (B, K, rows, columns), see `SaliencyMethod`."""
        activations, importance = activations_and_importance(image, text)
        return torch.einsum("bkc,bchw->bkhw", importance, activations).relu()
