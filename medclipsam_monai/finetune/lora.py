"""Low-rank adaptation (LoRA, arXiv 2106.09685) of both towers by peft, and its weights merged back in."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from medclipsam_monai.base.errors import InputError

# The linear layers of timm's blocks, of BERT's layers and of open_clip's own blocks.
TARGETS = (
    r".*trunk\.blocks\.\d+\.(attn\.(qkv|proj)|mlp\.fc[12])"
    r"|.*encoder\.layer\.\d+\..*(query|key|value|dense)"
    r"|.*resblocks\.\d+\.mlp\.c_(fc|proj)"
)


def add_lora(network: nn.Module, rank: int) -> None:
    """Freeze a network and give its transformer blocks' linear layers trainable updates of low rank.

    Args:
        network: changed in place.
        rank: of the updates; their scale alpha is twice the rank.

    Raises:
        InputError: if peft is not installed.
        ValueError: if the rank is not positive.
    """
    if rank < 1:
        raise ValueError(f"rank must be positive, got {rank}")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise InputError("LoRA needs peft: pip install 'medclipsam-monai[finetune]'") from error
    network.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS), network)


def merged_state_dict(network: nn.Module) -> dict[str, Tensor]:
    """A network's weights under their plain names, updates of low rank added in; the network stays as it is."""
    state: dict[str, Tensor] = dict(network.state_dict())
    for name, module in network.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        layer: Any = module
        for key in [key for key in state if key.startswith(f"{name}.")]:
            value = state.pop(key)
            if key.startswith(f"{name}.base_layer."):
                state[key.replace(".base_layer.", ".", 1)] = value
        for adapter in layer.lora_A:
            state[f"{name}.weight"] = state[f"{name}.weight"] + layer.get_delta_weight(adapter)
    return state
