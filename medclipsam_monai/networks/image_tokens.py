"""Pictures, and the tokens that an encoder made of them: those after each block are computed once."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from medclipsam_monai.networks.protocols import TextImageEncoder


class TokenMemory(Protocol):
    """Tokens after blocks by their number, as a dictionary holds them."""

    def get(self, block: int, /) -> Tensor | None:
        """The tokens after a block, or None if they are not there."""
        ...

    def __setitem__(self, block: int, tokens: Tensor, /) -> None: ...


class ImageTokens:
    """What saliency methods and presence read of pictures.

    Args:
        encoder: the CLIP.
        image: (B, 3, H, W) in [0, 1].
        known: tokens after blocks by their number, from before; new ones are put there. None for a new dictionary.
    """

    def __init__(self, encoder: TextImageEncoder, image: Tensor, known: TokenMemory | None = None) -> None:
        self.encoder, self.image = encoder, image
        self._known: TokenMemory = {} if known is None else known

    @torch.no_grad()
    def input(self) -> Tensor:
        """(B, 3, S, S) as the image half takes it."""
        return self.encoder.prepare(self.image)

    @torch.no_grad()
    def after(self, block: int) -> Tensor:
        """Tokens (B, prefix + N, C) after ``block``, float32; -1 for those that the first block takes.

        Raises:
            ValueError: there is no such block.
        """
        tokens = self._known.get(block)
        if tokens is None:
            tokens = self.encoder.tokens_of_input(self.input(), block).float()
            self._known[block] = tokens
        return tokens

    @torch.no_grad()
    def embedding(self) -> Tensor:
        """Unit vectors (B, E), from the deepest tokens that are known."""
        for block in reversed(range(self.encoder.num_blocks)):
            tokens = self._known.get(block)
            if tokens is not None:
                return F.normalize(self.encoder.embed(tokens, block), dim=-1)
        last = self.encoder.num_blocks - 1
        return F.normalize(self.encoder.embed(self.after(last), last), dim=-1)
