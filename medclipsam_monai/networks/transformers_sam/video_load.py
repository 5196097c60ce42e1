"""The network of a video around a picture's network that is there already: their parts in common are the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.transformers_sam.families import Family, library_class
from medclipsam_monai.networks.transformers_sam.reported import reported
from medclipsam_monai.networks.transformers_sam.video_segmenter import SHARED
from medclipsam_monai.weights.state_dicts import check_fit, load_exactly

_NO_MEMORY = "no_memory_embedding"
_AS_WIDE_AS_PROMPTS = (
    "memory_attention_hidden_size",
    "memory_encoder_hidden_size",
    "memory_fuser_embed_dim",
    "mask_downsampler_embed_dim",
)


def build_video(
    family: Family,
    settings: Mapping[str, Any],
    memory: Mapping[str, Tensor],
    network: Any,
    where: str,
    source: str,
) -> nn.Module:
    """A video's network with the parts of a picture's and weights of its memory that fit exactly.

    Args:
        family: of both, with a ``video``.
        settings: checked, of the picture's network and of the memory.
        memory: the other tensors, by the names of transformers.
        network: the picture's, with its weights.
        where: the settings, for an error.
        source: the weights, likewise.

    Raises:
        InputError: the library has no such class, or settings or tensors do not fit.
    """
    build = library_class(family, family.video)
    configure = library_class(family, family.video.removesuffix("Model") + "Config")
    side = network.config.prompt_encoder_config.image_size
    state = {**network.state_dict(), **memory}
    with reported(where), torch.device("meta"):  # before memory is taken for what a file describes
        shapes = build(configure(**settings, image_size=side))
    _check_sizes(shapes.config, network, where)
    check_fit(shapes, state, source)
    with reported(where):
        video: Any = build(configure(**settings, image_size=side))
        for name in (*SHARED, _NO_MEMORY):
            setattr(video, name, getattr(network, name))
        load_exactly(video, state, source)
    return video.eval().requires_grad_(False)


def _check_sizes(memory: Any, network: Any, where: str) -> None:
    """Make sure that the sizes of a memory belong to those of the picture's network: else a walk would break off.

    Raises:
        InputError: naming the first that does not.
    """
    width, channels = network.config.prompt_encoder_config.hidden_size, memory.memory_encoder_output_channels
    if width % channels:
        raise InputError(f"hidden_size of prompts in {where} must be a multiple of {channels}, got {width}")
    grid = [int(side) for side in network.backbone_feature_sizes[-1]]
    expected = {**dict.fromkeys(_AS_WIDE_AS_PROMPTS, width), "memory_attention_rope_feat_sizes": grid}
    for name, value in expected.items():
        given = getattr(memory, name)
        given = list(given) if isinstance(given, tuple) else given
        if given != value:
            raise InputError(f"{name} in {where} must be {value}, as the picture's network has it, got {given}")
