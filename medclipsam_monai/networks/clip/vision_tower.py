"""The vision tower of whatever CLIP it is, and its blocks that do nothing."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from medclipsam_monai.networks.clip.open_clip_towers import open_clip_tower
from medclipsam_monai.networks.clip.tower import VisionTower
from medclipsam_monai.networks.clip.transformers_towers import HuggingFaceCLIPTower, SiglipTower

_OF_TRANSFORMERS: dict[str, type[HuggingFaceCLIPTower] | type[SiglipTower]] = {
    "CLIPModel": HuggingFaceCLIPTower,
    "SiglipModel": SiglipTower,
}


def vision_tower(clip: Any) -> VisionTower:
    """The tower of an open_clip model, or of transformers' CLIPModel or SiglipModel.

    Raises:
        InputError: if the model's vision tower is not a plain ViT.
    """
    kind = _OF_TRANSFORMERS.get(type(clip).__name__)
    return open_clip_tower(clip.visual) if kind is None else kind(clip)


def is_idle(block: nn.Module) -> bool:
    """Whether both branches of a block end in zeros, so that it passes its tokens on as they are.

    A small network may fill a larger form with such blocks, as the demo's does: eight of its twelve.
    """
    ends = [p for n, p in block.named_parameters() if n.split(".")[-2] in ("proj", "fc2", "out_proj", "c_proj")]
    return bool(ends) and not any(bool(end.any()) for end in ends)


def skip_idle_blocks(clip: Any) -> None:
    """Leave idle vision blocks out of the computation, in place; their weights stay where they are, frozen.

    Which blocks are left out follows the weights: it is found again whenever a state dict is loaded, also into a copy.
    Models of transformers are left as they are: nobody makes such blocks in them.
    """
    if type(clip).__name__ in _OF_TRANSFORMERS:
        return
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
