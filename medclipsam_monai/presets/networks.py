"""The networks that a preset may name, and what loads them: a new one is a module of its own and a line here.

They are named by path and imported when one is loaded: reading and checking a preset loads no model code.
"""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from medclipsam_monai.networks.protocols import PromptableSegmenter, TextImageEncoder

ENCODERS = {
    "clip": "medclipsam_monai.networks.clip.load:load_text_image_encoder",
    "transformers": "medclipsam_monai.networks.clip.transformers_encoder:load_transformers_encoder",
}
"""Name -> function of weights, ``fit`` and ``device`` that gives a `TextImageEncoder`."""

SEGMENTERS = {
    "sam": "medclipsam_monai.networks.sam.segmenter:load_segmenter",
    "sam_without_adapters": "medclipsam_monai.networks.sam.segmenter:load_without_adapters",
    "transformers_sam": "medclipsam_monai.networks.transformers_sam.load:load_segmenter",
}
"""Name -> function of weights and ``device`` that gives a `PromptableSegmenter`."""


def load_encoder(name: str, weights: str | Path, fit: str, device: str | torch.device) -> TextImageEncoder:
    """The text-image encoder of a name in `ENCODERS`, frozen.

    Args:
        name: of the kind.
        weights: a path, or a hub's name where the kind takes one.
        fit: how pictures that are not square go in.
        device: where the weights go.

    Raises:
        InputError: the weights are missing, damaged or of another kind.
    """
    encoder: TextImageEncoder = resolve_name(ENCODERS[name])(weights, fit=fit, device=device)
    return encoder


def load_segmenter(name: str, weights: str | Path, device: str | torch.device) -> PromptableSegmenter:
    """The promptable segmenter of a name in `SEGMENTERS`, frozen; the arguments of `load_encoder`.

    Raises:
        InputError: the weights are missing, damaged or of another kind.
    """
    segmenter: PromptableSegmenter = resolve_name(SEGMENTERS[name])(weights, device=device)
    return segmenter
