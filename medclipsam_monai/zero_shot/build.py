"""From a preset to a network that runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medclipsam_monai.base.checked_fields import check_value
from medclipsam_monai.base.devices import resolve_device
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.clip.load import load_text_image_encoder
from medclipsam_monai.networks.sam.segmenter import load_segmenter
from medclipsam_monai.presets.methods import checked, make_coarse, make_saliency
from medclipsam_monai.presets.preset import Preset, load_preset
from medclipsam_monai.transforms import PromptsFromMask
from medclipsam_monai.weights.registry import resolve
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter


def build_network(
    preset: str | Path | Preset = "demo",
    device: str | torch.device = "auto",
    clip: str | Path | None = None,
    sam: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    amp: bool | None = None,
    text: Any = None,
    task: str | None = None,
) -> ZeroShotSegmenter:
    """The zero-shot network of a preset, loaded and placed.

    Args:
        preset: a name, a JSON file or a `Preset`.
        device: "auto", "cpu", "cuda", "mps"...
        clip: CLIP weights in place of the preset's.
        sam: SAM weights in place of the preset's.
        settings: single parameters changed, see `Preset.with_settings`.
        amp: half precision in SAM's image encoder; None for yes on cuda and no elsewhere.
        text: classes to look for where a call names none.
        task: one of the preset's tasks, see `Preset.for_task`; the settings come on top of it.

    Raises:
        InputError: if weights are missing or broken, a parameter is not one, or the preset has no such task.
    """
    chosen = load_preset(preset).for_task(task).with_settings({} if settings is None else settings)
    check_value("amp", amp, bool | None)
    placed = resolve_device(device)
    for option, weights in (("clip", clip), ("sam", sam)):
        if weights is not None and not str(weights).strip():
            raise InputError(f"{option} must name weights, got {str(weights)!r}")
    saliency, coarse = make_saliency(chosen.saliency), make_coarse(chosen.coarse)
    prompts = checked("prompts", PromptsFromMask, chosen.prompts)
    encoder = load_text_image_encoder(resolve(clip if clip is not None else chosen.clip), fit=chosen.fit, device=placed)
    segmenter = load_segmenter(resolve(sam if sam is not None else chosen.sam), device=placed)
    rest = {
        "prompt_ensemble": chosen.prompt_ensemble,
        "fusion": chosen.fusion,
        "threshold": chosen.threshold,
        "presence_threshold": chosen.presence_threshold,
        "presence_scale": chosen.presence_scale,
        "amp": placed.type == "cuda" if amp is None else amp,
        "text": text,
    }
    layer = getattr(saliency, "layer", None)
    if layer is not None and layer >= encoder.num_blocks:
        raise InputError(
            f"saliency.layer must be under {encoder.num_blocks}, this CLIP's number of blocks, got {layer}"
        )
    return checked(
        "the preset",
        lambda **options: ZeroShotSegmenter(encoder, segmenter, saliency, coarse, prompts, **options),
        rest,
    )
