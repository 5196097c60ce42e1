"""What every saliency method has in common: its call, and how its maps come back to the image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from medclipsam_monai.networks.image_tokens import ImageTokens
from medclipsam_monai.networks.protocols import TextImageEncoder
from medclipsam_monai.presets.methods import make_method
from medclipsam_monai.saliency.maps import unit_range


class SaliencyMethod(ABC):
    """Where texts hold in images, by a frozen CLIP; a method says how on the grid of the vision tower's tokens.

    Attributes:
        calibrated: whether its maps are probabilities as they are, and are not to be stretched to [0, 1].
    """

    calibrated = False

    @property
    def known_by(self) -> object:
        """What its maps are remembered by: itself, or what stands for it where it holds much memory."""
        return self

    def __call__(self, encoder: TextImageEncoder, image: Tensor, text: Tensor) -> Tensor:
        """Maps of K texts in B images.

        Args:
            encoder: the frozen CLIP.
            image: (B, 3, H, W) in [0, 1].
            text: (K, E) unit vectors.

        Returns:
            (B, K, H, W) in [0, 1]; a constant map gives zeros and a warning.
        """
        grids = self.grids(ImageTokens(encoder, image), text)
        maps = encoder.restore(grids, (image.shape[-2], image.shape[-1]))
        return maps if self.calibrated else unit_range(maps)

    @abstractmethod
    def grids(self, image: ImageTokens, text: Tensor) -> Tensor:
        """The same maps as ``__call__``'s on the patches' grid, not yet stretched: (B, K, rows, columns).

        Args:
            image: pictures (B, 3, H, W) with their encoder.
            text: (K, E) unit vectors.
        """


def make_saliency(settings: Mapping[str, Any]) -> SaliencyMethod:
    """The saliency method of a preset's "saliency" group.

    Raises:
        InputError: for a method that is not known, or a parameter that is none of its own.
    """
    options = dict(settings)
    method: SaliencyMethod = make_method("saliency", "method", options.pop("method", None), options)
    return method
