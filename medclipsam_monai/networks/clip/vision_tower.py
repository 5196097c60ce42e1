"""A CLIP's vision transformer opened up: patch embedding, blocks one by one, head.

Two kinds of tower occur in open_clip models: timm's (BiomedCLIP) and open_clip's own (OpenAI and LAION CLIPs). Both
are given the same four verbs, so that a saliency method can cut either at any block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medclipsam_monai.base.errors import InputError


class VisionTower(ABC):
    """Uniform view on a ViT. Holds references to the network's own modules and no weights of its own."""

    blocks: Sequence[Any]
    grid: tuple[int, int]
    image_size: int
    reads_class_token_only: bool

    @abstractmethod
    def embed_patches(self, x: Tensor) -> Tensor:
        """Normalised pictures (B, 3, S, S) to tokens (B, 1 + N, C) before the first block."""

    @abstractmethod
    def first_norm(self, block: Any) -> nn.Module:
        """The norm with which ``block`` begins."""

    @abstractmethod
    def class_token_after(self, block: Any, tokens: Tensor) -> Tensor:
        """The class token (B, 1, C) that ``block`` makes of tokens (B, 1 + N, C); the others are not computed."""

    @abstractmethod
    def head(self, tokens: Tensor) -> Tensor:
        """Tokens after the last block (B, n, C) to the joint embedding (B, E), not normalised."""


class TimmTower(VisionTower):
    """timm's VisionTransformer inside open_clip's TimmModel."""

    def __init__(self, visual: Any) -> None:
        trunk = visual.trunk
        self._trunk, self._projection = trunk, visual.head
        self.blocks = list(trunk.blocks)
        rows, columns = trunk.patch_embed.grid_size
        self.grid = (int(rows), int(columns))
        self.image_size = int(trunk.patch_embed.img_size[0])
        plain = all(type(block.attn.k_norm) is nn.Identity for block in self.blocks)
        self.reads_class_token_only = trunk.attn_pool is None and trunk.global_pool == "token" and plain

    def embed_patches(self, x: Tensor) -> Tensor:
        trunk = self._trunk
        return trunk.norm_pre(trunk.patch_drop(trunk._pos_embed(trunk.patch_embed(x))))

    def first_norm(self, block: Any) -> nn.Module:
        return block.norm1

    def class_token_after(self, block: Any, tokens: Tensor) -> Tensor:
        """One query needs no keys and values: q (W_k x) = (q W_k) x, and the mean of W_v x is W_v of the mean.

        So the two largest matrices meet one vector a head in place of every token. The keys' bias adds the same to all
        of a query's scores, which the softmax does not see; the values' bias comes back whole, as its weights add to 1.
        """
        attention = block.attn
        normed = block.norm1(tokens)  # (B, 1 + N, C)
        by_head = (attention.num_heads, attention.head_dim)
        weight_q, weight_k, weight_v = attention.qkv.weight.chunk(3)
        bias_q, _, bias_v = (None,) * 3 if attention.qkv.bias is None else attention.qkv.bias.chunk(3)
        query = F.linear(normed[:, 0], weight_q, bias_q).unflatten(-1, by_head)
        question = torch.einsum("bhd,hdc->bhc", query * attention.scale, weight_k.unflatten(0, by_head))
        mean = (question @ normed.transpose(1, 2)).softmax(dim=-1) @ normed  # (B, heads, C)
        value = torch.einsum("bhc,hdc->bhd", mean, weight_v.unflatten(0, by_head)).flatten(1)
        mixed = attention.proj(attention.norm(value if bias_v is None else value + bias_v)).unsqueeze(1)
        token = tokens[:, :1] + block.ls1(mixed)
        return token + block.ls2(block.mlp(block.norm2(token)))

    def head(self, tokens: Tensor) -> Tensor:
        return self._projection(self._trunk.forward_head(self._trunk.norm(tokens)))


class OpenClipTower(VisionTower):
    """open_clip's own VisionTransformer."""

    def __init__(self, visual: Any) -> None:
        self._visual = visual
        self.blocks = list(visual.transformer.resblocks)
        rows, columns = visual.grid_size
        self.grid = (int(rows), int(columns))
        self.image_size = int(visual.image_size[0])
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


def vision_tower(clip: nn.Module) -> VisionTower:
    """The tower of an open_clip model.

    Raises:
        InputError: if the model's vision tower is not a plain ViT with one class token.
    """
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
    from timm.layers.attention import Attention
    from timm.models.vision_transformer import Block
    from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer

    visual: Any = clip.visual
    if isinstance(visual, TimmModel) and isinstance(visual.trunk, TimmVisionTransformer):
        blocks_are_known = all(type(b) is Block and type(b.attn) is Attention for b in visual.trunk.blocks)
        if visual.trunk.num_prefix_tokens == 1 and blocks_are_known:
            return TimmTower(visual)
    if isinstance(visual, VisionTransformer):
        resblocks = getattr(visual.transformer, "resblocks", ())
        if len(resblocks) and all(type(b) is ResidualAttentionBlock for b in resblocks):
            return OpenClipTower(visual)
    kind = type(getattr(visual, "trunk", visual)).__name__
    raise InputError(f"the CLIP's vision tower is a {kind}; expected a ViT with one class token, such as ViT-B/16")


def is_idle(block: nn.Module) -> bool:
    """Whether both branches of a block end in zeros, so that it passes its tokens on as they are.

    A small network may fill a larger form with such blocks, as the demo's does: eight of its twelve.
    """
    ends = [p for n, p in block.named_parameters() if n.split(".")[-2] in ("proj", "fc2", "out_proj", "c_proj")]
    return bool(ends) and not any(bool(end.any()) for end in ends)


def skip_idle_blocks(clip: nn.Module) -> None:
    """Leave idle vision blocks out of the computation, in place; their weights stay where they are, frozen.

    Which blocks are left out follows the weights: it is found again whenever a state dict is loaded, also into a copy.
    """
    for block in vision_tower(clip).blocks:
        if is_idle(block):
            block.requires_grad_(False)
        _follow_weights(block)
        if _follow_weights not in block._load_state_dict_post_hooks.values():
            block.register_load_state_dict_post_hook(_follow_weights)


def _follow_weights(block: Any, _keys: object = None) -> None:
    """Let a block pass its tokens on as they are while it is idle, and compute otherwise.

    The signature is that of a hook of ``load_state_dict``. As a function of the block it goes along into copies and
    pickles.
    """
    block.__dict__.pop("forward", None)
    if is_idle(block):
        block.forward = _unchanged


def _unchanged(tokens: Tensor, *_: Any, **__: Any) -> Tensor:
    return tokens
