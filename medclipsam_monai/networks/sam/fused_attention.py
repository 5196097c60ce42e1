"""SAM's attention without the attention matrix: exact, faster and smaller (Kirillov et al., 2023, image encoder).

segment_anything adds a decomposed relative position bias, rel_h[q, row(k)] + rel_w[q, column(k)], to a matrix of
4096 x 4096 for each head of a global block: 800 MB for ViT-B. Here `scaled_dot_product_attention` gets the bias as an
additive mask, built for a chunk of queries at a time, and never holds the matrix.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from segment_anything.modeling.image_encoder import Attention, ImageEncoderViT, get_rel_pos
from torch import Tensor, nn

_MASK_ELEMENTS = 4 * 2**20  # bias entries built at a time, over all heads and windows: 16 MB in float32


class FusedAttention(nn.Module):
    """Drop-in for segment_anything's ``Attention`` with the same parameters under the same names.

    Args:
        attention: the module it takes its weights from (shared, not copied).
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        self.qkv, self.proj = attention.qkv, attention.proj
        self.use_rel_pos = attention.use_rel_pos
        if self.use_rel_pos:
            self.rel_pos_h, self.rel_pos_w = attention.rel_pos_h, attention.rel_pos_w

    def forward(self, x: Tensor) -> Tensor:
        """Tokens on a grid (B, H, W, C) to the same shape."""
        batch, height, width, channels = x.shape
        qkv = self.qkv(x).view(batch, height * width, 3, self.num_heads, channels // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, H * W, C / heads)
        if self.use_rel_pos:
            mixed = self._attend_with_bias(query, key, value, height, width)
        else:
            mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(batch, height, width, channels))

    def _attend_with_bias(self, query: Tensor, key: Tensor, value: Tensor, height: int, width: int) -> Tensor:
        batch, heads, tokens, _ = query.shape
        table_h = get_rel_pos(height, height, self.rel_pos_h).to(query)  # (query row, key row, C / heads)
        table_w = get_rel_pos(width, width, self.rel_pos_w).to(query)
        rows = max(1, _MASK_ELEMENTS // (batch * heads * tokens * width))  # whole rows of queries
        grid = query.unflatten(2, (height, width))
        out = []
        for top in range(0, height, rows):
            part = grid[:, :, top : top + rows]
            bias_h = torch.einsum("bnhwc,hkc->bnhwk", part, table_h[top : top + rows])
            bias_w = torch.einsum("bnhwc,wkc->bnhwk", part, table_w)
            bias = (bias_h.unsqueeze(-1) + bias_w.unsqueeze(-2)).flatten(4).flatten(2, 3)
            out.append(F.scaled_dot_product_attention(part.flatten(2, 3), key, value, attn_mask=bias))
        return torch.cat(out, dim=2)


def fuse_attention(image_encoder: ImageEncoderViT) -> None:
    """Replace the attention of every block of a SAM image encoder, in place; keys of its state dict stay the same."""
    for block in image_encoder.blocks:
        block.attn = FusedAttention(block.attn)
