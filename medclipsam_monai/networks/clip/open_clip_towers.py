"""The vision towers of open_clip models: timm's (BiomedCLIP, SigLIP) and open_clip's own (OpenAI and LAION CLIPs)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.clip.tower import VisionTower, attention_of_one


class TimmTower(VisionTower):
    """timm's VisionTransformer inside open_clip's TimmModel, with a class token or an attention pool."""

    def __init__(self, visual: Any) -> None:
        trunk = visual.trunk
        self._trunk, self._projection = trunk, visual.head
        self.blocks = list(trunk.blocks)
        rows, columns = trunk.patch_embed.grid_size
        self.grid = (int(rows), int(columns))
        self.image_size = _whole_patches(trunk.patch_embed)
        self.prefix_tokens = int(trunk.num_prefix_tokens)
        plain = all(type(block.attn.k_norm) is nn.Identity for block in self.blocks)
        self.reads_class_token_only = trunk.attn_pool is None and trunk.global_pool == "token" and plain

    def embed_patches(self, x: Tensor) -> Tensor:
        trunk = self._trunk
        return trunk.norm_pre(trunk.patch_drop(trunk._pos_embed(trunk.patch_embed(x))))

    def first_norm(self, block: Any) -> nn.Module:
        return block.norm1

    def class_token_after(self, block: Any, tokens: Tensor) -> Tensor:
        attention = block.attn
        normed = block.norm1(tokens)  # (B, 1 + N, C)
        weight_q, weight_k, weight_v = attention.qkv.weight.chunk(3)
        bias_q, _, bias_v = (None,) * 3 if attention.qkv.bias is None else attention.qkv.bias.chunk(3)
        query = F.linear(normed[:, 0], weight_q, bias_q).unflatten(-1, (attention.num_heads, -1))
        value = attention_of_one(query * attention.scale, normed, weight_k, weight_v, bias_v)
        token = tokens[:, :1] + block.ls1(attention.proj(attention.norm(value)).unsqueeze(1))
        return token + block.ls2(block.mlp(block.norm2(token)))

    def head(self, tokens: Tensor) -> Tensor:
        trunk = self._trunk
        normed = trunk.norm(tokens)
        if self.prefix_tokens or not _is_plain_pool(trunk.attn_pool):
            return self._projection(trunk.forward_head(normed))
        return self._projection(trunk.head(trunk.head_drop(trunk.fc_norm(_pooled(trunk.attn_pool, normed)))))


def _whole_patches(patch_embed: Any) -> int:
    """The side that the grid covers: of 384 pixels, patches of 14 leave the last 6 unseen, and the map would be off.

    timm's patch embedding is told to take pictures of that side; another, as the pyramid of the preset small, is left
    as it is.
    """
    from timm.layers.patch_embed import PatchEmbed

    if type(patch_embed) is not PatchEmbed:
        return int(patch_embed.img_size[0])
    side = int(patch_embed.grid_size[0]) * int(patch_embed.patch_size[0])
    if side != int(patch_embed.img_size[0]):
        patch_embed.strict_img_size = False
    return side


def _is_plain_pool(pool: Any) -> bool:
    """Whether a pool is SigLIP's: one query, nothing normed or added."""
    from timm.layers.attention_pool import AttentionPoolLatent

    if type(pool) is not AttentionPoolLatent or pool.latent_len != 1 or pool.pos_embed is not None:
        return False
    return type(pool.q_norm) is nn.Identity and type(pool.k_norm) is nn.Identity


def _pooled(pool: Any, tokens: Tensor) -> Tensor:
    """Tokens (B, N, C) to what the pool's one query takes of them (B, C)."""
    query = pool.q(pool.latent[:, 0]).unflatten(-1, (pool.num_heads, -1)) * pool.scale
    weight_k, weight_v = pool.kv.weight.chunk(2)
    bias_v = None if pool.kv.bias is None else pool.kv.bias.chunk(2)[1]
    mixed = pool.proj(attention_of_one(query.expand(len(tokens), -1, -1), tokens, weight_k, weight_v, bias_v))
    return mixed + pool.mlp(pool.norm(mixed))


class OpenClipTower(VisionTower):
    """open_clip's own VisionTransformer."""

    prefix_tokens = 1

    def __init__(self, visual: Any) -> None:
        self._visual = visual
        self.blocks = list(visual.transformer.resblocks)
        rows, columns = visual.grid_size
        self.grid = (int(rows), int(columns))
        self.image_size = int(rows) * int(visual.patch_size[0])
        self.reads_class_token_only = visual.attn_pool is None and visual.pool_type == "tok"

    def embed_patches(self, x: Tensor) -> Tensor:
        return self._visual._embeds(x)

    def first_norm(self, block: Any) -> nn.Module:
        return block.ln_1

    def class_token_after(self, block: Any, tokens: Tensor) -> Tensor:
        normed = block.ln_1(tokens)
        mixed = block.attention(normed[:, :1], normed, normed)
        token = tokens[:, :1] + block.ls_1(mixed)
        return token + block.ls_2(block.mlp(block.ln_2(token)))

    def head(self, tokens: Tensor) -> Tensor:
        pooled, _ = self._visual._pool(tokens)
        return pooled if self._visual.proj is None else pooled @ self._visual.proj


def open_clip_tower(visual: Any) -> VisionTower:
    """The tower of an open_clip model's ``visual``.

    Raises:
        InputError: it is not a plain ViT with one class token, or an attention pool in its place.
    """
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
    from timm.layers.attention import Attention
    from timm.models.vision_transformer import Block
    from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer

    if isinstance(visual, TimmModel) and isinstance(visual.trunk, TimmVisionTransformer):
        blocks_are_known = all(type(b) is Block and type(b.attn) is Attention for b in visual.trunk.blocks)
        pooled = visual.trunk.num_prefix_tokens == 0 and visual.trunk.global_pool in ("map", "avg")
        if (visual.trunk.num_prefix_tokens == 1 or pooled) and blocks_are_known:
            return TimmTower(visual)
    if isinstance(visual, VisionTransformer):
        resblocks = getattr(visual.transformer, "resblocks", ())
        if len(resblocks) and all(type(b) is ResidualAttentionBlock for b in resblocks):
            return OpenClipTower(visual)
    kind = type(getattr(visual, "trunk", visual)).__name__
    raise InputError(
        f"the CLIP's vision tower is a {kind}; expected a ViT with one class token, such as ViT-B/16, or with an "
        "attention pool, as SigLIP's"
    )
