"""A checkpoint ensemble as one network, for MONAI's engines and inferers."""

from __future__ import annotations

from pathlib import Path

import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from medclipsam_monai.weak.ensemble.checkpoint_ensemble import CheckpointEnsemble


class EnsembleNetwork(nn.Module):
    """A `CheckpointEnsemble` as a network for MONAI: raw images in, mean probabilities out.

    Each image is preprocessed and predicted on its own, on the ensemble's device, whatever its size; gradients do not
    pass.

    Args:
        ensemble: the checkpoints.
    """

    def __init__(self, ensemble: CheckpointEnsemble) -> None:
        super().__init__()
        self.ensemble = ensemble
        self.network = ensemble.network  # known to MONAI, which counts and moves parameters

    @classmethod
    def from_file(
        cls, path: str | Path, device: str | torch.device = "auto", tile_step: float = 0.5, mirroring: bool = True
    ) -> EnsembleNetwork:
        """See `CheckpointEnsemble.from_file`."""
        return cls(CheckpointEnsemble.from_file(path, device, tile_step, mirroring))

    def forward(self, image: Tensor) -> Tensor:
        """
        Args:
            image: (B, C, H, W) or (B, C, H, W, D), see `CheckpointEnsemble.predict_tensor`.

        Returns:
            (B, n, H, W[, D]) float32 on the device of ``image``, n classes with the background first, summing to 1.

        Raises:
            InputError: see `CheckpointEnsemble.predict_tensor`.
        """
        plain = image.as_tensor() if isinstance(image, MetaTensor) else image
        found = [self.ensemble.predict_tensor(one).probability for one in plain]
        out = torch.stack(found).to(image.device)
        return MetaTensor(out, meta=image.meta) if isinstance(image, MetaTensor) else out
