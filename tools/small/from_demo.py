"""Start the small CLIP from the demo's: the same blocks, on patches half as wide, and the words that both know."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medclipsam_monai.networks.clip.vision_tower import is_idle
from medclipsam_monai.weights.clip_folder import build_clip, find_weights
from medclipsam_monai.weights.state_dicts import load_exactly, read_state_dict

_BLOCK = {
    "norm1": "ln_1",
    "norm2": "ln_2",
    "attn.qkv.weight": "attn.in_proj_weight",
    "attn.qkv.bias": "attn.in_proj_bias",
    "attn.proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
"""timm's names in a block, and open_clip's."""


def start_from_demo(clip: Any, folder: Path, demo: Path) -> None:
    """Copy the demo's weights into a network of the same width, in place.

    Blocks that the demo does not have pass their tokens on at first.

    Args:
        clip: open_clip's own vision transformer and a BERT as wide as the demo's.
        folder: with its vocabulary.
        demo: folder of the demo's CLIP.
    """
    source: Any = build_clip(demo)
    load_exactly(source, read_state_dict(find_weights(demo)), str(demo))
    trunk, visual = source.visual.trunk, clip.visual
    with torch.no_grad():
        for target, block in zip(visual.transformer.resblocks, trunk.blocks, strict=False):
            target.load_state_dict(_renamed(block.state_dict()))
            if is_idle(block):
                _idle(target)
        visual.ln_post.load_state_dict(trunk.norm.state_dict())
        visual.proj.copy_(source.visual.head.proj.weight.T)
        weight = trunk.patch_embed.proj.weight
        side = visual.conv1.weight.shape[-1]
        # A patch of half the width covers a quarter of the pixels: each counts four times.
        gain = (weight.shape[-1] / side) ** 2
        visual.conv1.weight.copy_(F.interpolate(weight, (side, side), mode="area") * gain)
        visual.class_embedding.copy_(trunk.cls_token.flatten())
        visual.positional_embedding.copy_(_positions(trunk.pos_embed[0], visual.grid_size, trunk.patch_embed.proj.bias))
        _copy_words(clip, source, folder, demo)


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, value in state.items():
        start = next(start for start in _BLOCK if name.startswith(start))
        found[_BLOCK[start] + name.removeprefix(start)] = value
    return found


def _idle(block: nn.Module) -> None:
    """Fresh layers whose ends are zero: the block passes its tokens on, and can learn."""
    for name, parameter in block.named_parameters():
        if name.startswith("ln_"):
            nn.init.ones_(parameter) if name.endswith("weight") else nn.init.zeros_(parameter)
        elif name.endswith("bias") or "out_proj" in name or "c_proj" in name:
            nn.init.zeros_(parameter)
        else:
            nn.init.normal_(parameter, std=0.02)


def _positions(table: Tensor, grid: tuple[int, int], bias: Tensor) -> Tensor:
    """Positions (1 + n, C) of another grid; open_clip's patches have no bias, so it lies in the positions."""
    side = round((len(table) - 1) ** 0.5)
    square = table[1:].T.reshape(1, -1, side, side)
    finer = F.interpolate(square, grid, mode="bicubic", align_corners=False)[0].flatten(1).T
    return torch.cat([table[:1], finer + bias])


def _copy_words(clip: Any, source: Any, folder: Path, demo: Path) -> None:
    """The text tower, and of its vocabulary the pieces that both have."""
    state = source.text.state_dict()
    own = clip.text.state_dict()
    words = next(name for name in own if name.endswith("word_embeddings.weight"))
    known = {word: k for k, word in enumerate((demo / "vocab.txt").read_text(encoding="utf-8").splitlines())}
    table = own[words].clone()
    for row, word in enumerate((folder / "vocab.txt").read_text(encoding="utf-8").splitlines()):
        if word in known:
            table[row] = state[words][known[word]]
    clip.text.load_state_dict({**state, words: table})
