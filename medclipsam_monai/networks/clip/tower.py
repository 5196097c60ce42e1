"""A CLIP's vision transformer opened up: patch embedding, blocks one by one, head.

Every kind of tower is given the same verbs, so that a saliency method can cut any of them at any block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class VisionTower(ABC):
    """Uniform view on a ViT. Holds references to the network's own modules and no weights of its own.

    Attributes:
        blocks: the transformer blocks.
        grid: rows and columns of patch tokens.
        image_size: side of the input in pixels, a whole number of patches.
        prefix_tokens: 1 with a class token, 0 where an attention pool reads the patches (SigLIP).
        reads_class_token_only: whether of the last block's tokens nothing but the class token is read.
    """

    blocks: Sequence[Any]
    grid: tuple[int, int]
    image_size: int
    prefix_tokens: int
    reads_class_token_only: bool

    @abstractmethod
    def embed_patches(self, x: Tensor) -> Tensor:
        """Normalised pictures (B, 3, S, S) to tokens (B, prefix + N, C) before the first block."""

    def through(self, block: Any, tokens: Tensor) -> Tensor:
        """Tokens (B, prefix + N, C) to those after ``block``."""
        after: Tensor = block(tokens)
        return after

    @abstractmethod
    def first_norm(self, block: Any) -> nn.Module:
        """The norm with which ``block`` begins."""

    def class_token_after(self, block: Any, tokens: Tensor) -> Tensor:
        """The class token (B, 1, C) that ``block`` makes of tokens (B, 1 + N, C); the others are not computed.

        Asked only where `reads_class_token_only`.
        """
        raise NotImplementedError

    @abstractmethod
    def head(self, tokens: Tensor) -> Tensor:
        """Tokens after the last block (B, n, C) to the joint embedding (B, E), not normalised."""


def attention_of_one(
    query: Tensor, tokens: Tensor, key_weight: Tensor, value_weight: Tensor, value_bias: Tensor | None
) -> Tensor:
    """What one query takes of all tokens, without their keys and values: q (W_k x) = (q W_k) x.

    The mean of W_v x is W_v of the mean, too. So the two matrices meet one vector a head in place of every token. The
    keys' bias adds the same to all of a query's scores, which the softmax does not see; the values' bias comes back
    whole, as its weights add to 1.

    Args:
        query: (B, heads, d), already multiplied by the attention's scale.
        tokens: (B, N, C).
        key_weight: (heads d, C).
        value_weight: (heads d, C).
        value_bias: (heads d,) or None.

    Returns:
        (B, heads d), before the attention's last projection.
    """
    by_head = (query.shape[1], -1)
    question = torch.einsum("bhd,hdc->bhc", query, key_weight.unflatten(0, by_head))
    mean = (question @ tokens.transpose(1, 2)).softmax(dim=-1) @ tokens  # (B, heads, C)
    value = torch.einsum("bhc,hdc->bhd", mean, value_weight.unflatten(0, by_head)).flatten(1)
    return value if value_bias is None else value + value_bias
