"""The network of a video around a picture's network that is there already: their parts in common are the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from medclipsam_monai.networks.transformers_sam.families import Family, library_class
from medclipsam_monai.networks.transformers_sam.reported import reported
from medclipsam_monai.networks.transformers_sam.video_segmenter import SHARED
from medclipsam_monai.weights.state_dicts import check_fit, load_exactly

_NO_MEMORY = "no_memory_embedding"


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
    check_fit(shapes, state, source)
    with reported(where):
        video: Any = build(configure(**settings, image_size=side))
        for name in (*SHARED, _NO_MEMORY):
            setattr(video, name, getattr(network, name))
        load_exactly(video, state, source)
    return video.eval().requires_grad_(False)
