"""Which weights learn, and how fast: freezing from below, rates by layer, no decay on norms and biases."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from torch import nn

from medclipsam_monai.base.errors import InputError

_VISION = "visual."
_BLOCK = re.compile(r"\.(?:blocks|resblocks|layer)\.(\d+)\.")
_BELOW = (
    "patch_embed", "cls_token", "pos_embed", "norm_pre", "conv1", "class_embedding", "positional_embedding",
    "ln_pre", "embeddings", "token_embedding",
)  # fmt: skip


def _plain(name: str) -> str:
    """A parameter's name without what wrappers put in front."""
    return name.removeprefix("module.").removeprefix("clip.")


def tower_of(name: str) -> str:
    """ "vision" or "text"."""
    return "vision" if _plain(name).startswith(_VISION) else "text"


def layer_of(name: str) -> int | None:
    """0 for what lies below the first block, n for block n - 1, None for what lies above the last one."""
    block = _BLOCK.search(f".{name}")
    if block:
        return int(block[1]) + 1
    return 0 if any(part in _plain(name) for part in _BELOW) else None


def count_blocks(network: nn.Module) -> dict[str, int]:
    """Transformer blocks of each tower."""
    depth = {"vision": 0, "text": 0}
    for name, _ in network.named_parameters():
        depth[tower_of(name)] = max(depth[tower_of(name)], layer_of(name) or 0)
    return depth


def freeze_layers(network: nn.Module, vision: int = 0, text: int = 0) -> None:
    """Freeze each tower from below.

    Args:
        network: changed in place.
        vision: 0 freezes nothing, n the embedding and the first n - 1 blocks of the vision tower, -1 all of it.
        text: the same for the text tower.

    Raises:
        InputError: if a tower has fewer layers.
    """
    depth, wanted = count_blocks(network), {"vision": vision, "text": text}
    for tower, layers in wanted.items():
        if not -1 <= layers <= depth[tower] + 1:
            raise InputError(f"the {tower} tower has {depth[tower] + 1} layers to freeze, or -1 for all; got {layers}")
    for name, parameter in network.named_parameters():
        layers, layer = wanted[tower_of(name)], layer_of(name)
        if layers == -1 or (layer is not None and layer < layers):
            parameter.requires_grad_(False)


def parameter_groups(
    network: nn.Module,
    learning_rate: float,
    weight_decay: float = 0.0,
    layer_decay: float = 1.0,
    loss: nn.Module | None = None,
) -> list[dict[str, Any]]:
    """Groups for an optimiser.

    Args:
        network: its frozen parameters are left out.
        learning_rate: of the projections above the last blocks, and of all with `layer_decay` 1.
        weight_decay: for matrices; norms, biases and single tokens have none.
        layer_decay: factor of the rate from each layer to the one below, in (0, 1].
        loss: a loss whose temperature is learned; it has no decay.

    Raises:
        ValueError: if the layer decay is not in (0, 1].
        InputError: if everything is frozen.
    """
    if not 0 < layer_decay <= 1:
        raise ValueError(f"layer_decay must be above 0 and at most 1, got {layer_decay}")
    depth = count_blocks(network)
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            layer = layer_of(name)
            below = 0 if layer is None else depth[tower_of(name)] + 1 - layer
            decay = weight_decay if parameter.squeeze().ndim > 1 else 0.0
            groups[learning_rate * layer_decay**below, decay].append(parameter)
    if not groups:
        raise InputError("every weight of the network is frozen; freeze fewer layers")
    learned = [] if loss is None else list(loss.parameters())
    if learned:
        groups[learning_rate, 0.0].extend(learned)
    return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]
