"""Pictures, and the tokens that an encoder made of them: those after each block are computed once."""

from __future__ import annotations

from collections.abc import MutableMapping

import torch
import torch.nn.functional as F
from torch import Tensor

from medclipsam_monai.networks.protocols import TextImageEncoder


class ImageTokens:
    """What saliency methods and presence read of pictures.

    Args:
        encoder: the CLIP.
        image: (B, 3, H, W) in [0, 1].
        known: tokens after blocks by their number, from before; new ones are put there. None for a new dictionary.
    """

    def __init__(
        self, encoder: TextImageEncoder, image: Tensor, known: MutableMapping[int, Tensor] | None = None
    ) -> None:
        self.encoder, self.image = encoder, image
        self._known = {} if known is None else known

    @torch.no_grad()
    def input(self) -> Tensor:
        """(B, 3, S, S) as the image half takes it."""
        return self.encoder.prepare(self.image)

    @torch.no_grad()
    def after(self, block: int) -> Tensor:
        """Tokens (B, prefix + N, C) after ``block``, float32.

        Raises:
            ValueError: there is no such block.
        """
        if block not in self._known:
            self._known[block] = self.encoder.tokens_of_input(self.input(), block).float()
        return self._known[block]

    @torch.no_grad()
    def embedding(self) -> Tensor:
        """Unit vectors (B, E), from the deepest tokens that are known."""
        block = max(self._known, default=self.encoder.num_blocks - 1)
        return F.normalize(self.encoder.embed(self.after(block), block), dim=-1)
