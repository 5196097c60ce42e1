"""The vision towers of transformers' CLIPModel and SiglipModel, whose parts this finds by the same names.

In transformers 4 a block gives a tuple and takes a second mask; in 5 it gives its tokens.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from medclipsam_monai.networks.clip.tower import VisionTower, attention_of_one


class _TransformersTower(VisionTower):
    """What the two have in common."""

    def __init__(self, clip: Any) -> None:
        self._vision = clip.vision_model
        settings = clip.config.vision_config
        self.blocks = list(self._vision.encoder.layers)
        rows = int(settings.image_size) // int(settings.patch_size)
        self.grid = (rows, rows)
        self.image_size = int(settings.image_size)

    def first_norm(self, block: Any) -> nn.Module:
        return block.layer_norm1


class HuggingFaceCLIPTower(_TransformersTower):
    """CLIP's: a class token, of the last block nothing else is read."""

    prefix_tokens = 1
    reads_class_token_only = True

    def __init__(self, clip: Any) -> None:
        super().__init__(clip)
        self._projection = clip.visual_projection

    def embed_patches(self, x: Tensor) -> Tensor:
        return self._vision.pre_layrnorm(self._vision.embeddings(x))

    def through(self, block: Any, tokens: Tensor) -> Tensor:
        return _tokens_of(block(tokens, attention_mask=None, **_second_mask(block)))

    def class_token_after(self, block: Any, tokens: Tensor) -> Tensor:
        attention = block.self_attn
        normed = block.layer_norm1(tokens)
        query = attention.q_proj(normed[:, 0]).unflatten(-1, (attention.num_heads, -1)) * attention.scale
        key, value = attention.k_proj, attention.v_proj
        mixed = attention.out_proj(attention_of_one(query, normed, key.weight, value.weight, value.bias))
        token = tokens[:, :1] + mixed.unsqueeze(1)
        return token + block.mlp(block.layer_norm2(token))

    def head(self, tokens: Tensor) -> Tensor:
        return self._projection(self._vision.post_layernorm(tokens[:, 0]))


class SiglipTower(_TransformersTower):
    """SigLIP's (Zhai et al., ICCV 2023): no class token, one learned query takes what it needs of all patches."""

    prefix_tokens = 0
    reads_class_token_only = False

    def embed_patches(self, x: Tensor) -> Tensor:
        return self._vision.embeddings(x)

    def through(self, block: Any, tokens: Tensor) -> Tensor:
        return _tokens_of(block(tokens, attention_mask=None))

    def head(self, tokens: Tensor) -> Tensor:
        pool, normed = self._vision.head, self._vision.post_layernorm(tokens)
        attention = pool.attention
        weight_q, weight_k, weight_v = attention.in_proj_weight.chunk(3)
        bias_q, _, bias_v = attention.in_proj_bias.chunk(3)
        query = F.linear(pool.probe[:, 0], weight_q, bias_q).unflatten(-1, (attention.num_heads, -1))
        query = query.expand(len(tokens), -1, -1) * attention.head_dim**-0.5
        mixed = attention.out_proj(attention_of_one(query, normed, weight_k, weight_v, bias_v))
        return mixed + pool.mlp(pool.layernorm(mixed))


def _tokens_of(output: Any) -> Tensor:
    tokens: Tensor = output[0] if isinstance(output, tuple) else output
    return tokens


def _second_mask(block: Any) -> dict[str, None]:
    """CLIP's blocks of transformers 4 ask for a causal mask beside the other."""
    code = type(block).forward.__code__
    names = code.co_varnames[: code.co_argcount]
    return {"causal_attention_mask": None} if "causal_attention_mask" in names else {}
