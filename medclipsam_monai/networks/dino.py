"""DINOv2 (arXiv:2304.07193) as an encoder of pictures alone, from a folder as transformers saves it.

Its patch tokens are compared where examples are given (ProtoSAM does so). Files on this machine only: nothing is
fetched, no code of a repository is run, and what the network is stands in a table.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object
from medclipsam_monai.base.quiet import silenced
from medclipsam_monai.base.value_checks import BOOLEAN, Kind, check_object, integer, number, one_of, shown
from medclipsam_monai.networks.clip.preprocess import Fit, Preprocess
from medclipsam_monai.weights.clip_tables import CODE
from medclipsam_monai.weights.hugging_face.tensors import read_weights
from medclipsam_monai.weights.state_dicts import StateDict, check_fit, load_exactly

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SIDE = 448
"""Pixels at most of a picture's side, in whole patches; the published networks take any, and were trained up to 518."""
_TABLE: Mapping[str, Kind] = {
    "hidden_act": one_of("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "swish"),
    "hidden_size": integer(1, 16_384),
    "image_size": integer(14, 4096),
    "layer_norm_eps": number(1e-15, 1),
    "layerscale_value": number(0, 100),
    "mlp_ratio": number(0.01, 64),
    "num_attention_heads": integer(1, 512),
    "num_channels": one_of(3),
    "num_hidden_layers": integer(1, 200),
    "patch_size": integer(1, 512),
    "qkv_bias": BOOLEAN,
    "use_swiglu_ffn": one_of(False),  # of the giant alone, whose weights lie otherwise in each version of transformers
}
_RENAMED = (
    (".attention.attention.query.", ".attention.q_proj."),
    (".attention.attention.key.", ".attention.k_proj."),
    (".attention.attention.value.", ".attention.v_proj."),
    (".attention.output.dense.", ".attention.o_proj."),
)
"""Names in files, and those that transformers has for them in memory from version 5 on."""


class DinoEncoder(nn.Module):
    """A frozen Dinov2Model, as `PatchEncoder` asks for.

    Args:
        network: transformers' Dinov2Model.
        preprocess: pictures in [0, 1] to its input, and maps back.
    """

    prefix_tokens = 1

    def __init__(self, network: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.network: Any = network.eval().requires_grad_(False)
        self.preprocess = preprocess

    @property
    def image_size(self) -> int:
        """Side of its input in pixels."""
        return self.preprocess.size

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patch tokens."""
        side = self.image_size // int(self.network.config.patch_size)
        return side, side

    @property
    def num_blocks(self) -> int:
        """How many blocks it has."""
        return int(self.network.config.num_hidden_layers)

    @property
    def last_block(self) -> int:
        """0-based number of the last one."""
        return self.num_blocks - 1

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def with_fit(self, fit: Fit) -> DinoEncoder:
        """The same network for pictures that go in another way, see `Preprocess`; weights are shared, not copied."""
        return DinoEncoder(self.network, replace(self.preprocess, fit=fit))

    def prepare(self, image: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] to normalised input (B, 3, image_size, image_size)."""
        return self.preprocess(image.to(self.device))

    @torch.no_grad()
    def tokens_of_input(self, x: Tensor, block: int) -> Tensor:
        """What `prepare` gives to tokens (B, 1 + N, C) after ``block``; after the last one also its closing norm."""
        found = self.network(pixel_values=x, output_hidden_states=True)
        tokens: Tensor = found.last_hidden_state if block == self.last_block else found.hidden_states[block + 1]
        return tokens

    def restore(self, grid: Tensor, shape: tuple[int, int]) -> Tensor:
        """Maps (B, K, rows, columns) on the patches' grid to the pixels (B, K, H, W) of pictures of a shape."""
        return self.preprocess.restore(grid, shape)


def _renamed(state: StateDict, known: Collection[str]) -> StateDict:
    """A file's tensors under the names that the network has for them."""

    def name_in_memory(name: str) -> str:
        if name in known:
            return name
        for old, new in _RENAMED:
            name = name.replace(old, new)
        return name

    return {name_in_memory(name): value for name, value in state.items()}


def load_dino(source: str | Path, fit: Fit = "squash", device: str | torch.device = "cpu") -> DinoEncoder:
    """A frozen encoder from a local folder that transformers saved: config.json and weights.

    Args:
        source: the folder.
        fit: how pictures that are not square go in, see `Preprocess`.
        device: where the weights go.

    Raises:
        InputError: no such folder, a network of another family, or files that are missing, cut off or damaged.
    """
    from transformers import Dinov2Config, Dinov2Model

    folder = Path(source)
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"{folder}: is no folder of a DINOv2; expected one with config.json and model.safetensors")
    content = read_object(path)
    if content.get("model_type") != "dinov2":
        raise InputError(f"model_type in {path} must be dinov2, got {shown(content.get('model_type'))}")
    named = next((name for name in CODE if content.get(name)), None)
    if named is not None:
        raise InputError(f"{path} names code to run or fetch ({named}); expected settings only")
    values = check_object({name: content[name] for name in content.keys() & _TABLE}, {}, _TABLE, str(path))
    stored = read_weights(folder)
    try:
        with silenced(("transformers",), logging.WARNING):
            with torch.device("meta"):
                shapes: Any = Dinov2Model(Dinov2Config(**values))
            state = _renamed(stored, shapes.state_dict())
            check_fit(shapes, state, str(folder))  # before memory is taken for what a file describes
            network: Any = Dinov2Model(Dinov2Config(**values))
    except InputError:
        raise
    except Exception as error:  # transformers 5 checks sizes by errors of another library
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} describes no DINOv2: {reason}") from error
    load_exactly(network, state, str(folder))
    patch = int(network.config.patch_size)
    side = max(patch, min(_SIDE, int(network.config.image_size)) // patch * patch)
    return DinoEncoder(network, Preprocess(side, _MEAN, _STD, fit)).to(device)
