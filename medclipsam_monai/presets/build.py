"""From a preset to a network that runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from medclipsam_monai.devices import resolve_device
from medclipsam_monai.errors import InputError
from medclipsam_monai.networks.load_clip import load_text_image_encoder
from medclipsam_monai.networks.preprocess import FITS
from medclipsam_monai.networks.segmenter import load_segmenter
from medclipsam_monai.networks.zero_shot import SaliencyMethod, ZeroShotSegmenter
from medclipsam_monai.presets.preset import Preset, load_preset
from medclipsam_monai.saliency.m2ib import M2IB
from medclipsam_monai.transforms import (
    CoarseMask,
    FixedThreshold,
    KeepConfidentComponents,
    KeepLargestComponents,
    OtsuThreshold,
    PromptsFromMask,
    TwoMeansThreshold,
)
from medclipsam_monai.weights import resolve

SALIENCY_METHODS: dict[str, Callable[..., SaliencyMethod]] = {"m2ib": M2IB}
THRESHOLDS: dict[str, Callable[[], Any]] = {"otsu": OtsuThreshold, "two_means": TwoMeansThreshold}
COMPONENTS: dict[str, Callable[..., Any]] = {"confident": KeepConfidentComponents, "largest": KeepLargestComponents}


def build_network(
    preset: str | Path | Preset = "demo",
    device: str | torch.device = "auto",
    clip: str | Path | None = None,
    sam: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    amp: bool | None = None,
    text: Any = None,
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

    Raises:
        InputError: if weights are missing or broken, or a parameter is not one.
    """
    chosen = load_preset(preset).with_settings(settings or {})
    placed = resolve_device(device)
    if chosen.fit not in FITS:
        raise InputError(f"fit must be one of {', '.join(FITS)}, got {chosen.fit!r}")
    saliency = _made("saliency", SALIENCY_METHODS, chosen.saliency, "method")
    coarse = make_coarse(chosen.coarse)
    prompts = _checked("prompts", PromptsFromMask, dict(chosen.prompts))
    encoder = load_text_image_encoder(resolve(clip or chosen.clip), fit=chosen.fit, device=placed)
    segmenter = load_segmenter(resolve(sam or chosen.sam), device=placed)
    rest = {
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
    return _checked(
        "the preset",
        lambda **options: ZeroShotSegmenter(encoder, segmenter, saliency, coarse, prompts, **options),
        rest,
    )


def make_coarse(settings: Mapping[str, Any]) -> CoarseMask:
    """The coarse mask's transform from a preset's "coarse" group.

    Raises:
        InputError: for a threshold or a choice of components that is not known.
    """
    options = dict(settings)
    threshold = options.pop("threshold", "otsu")
    components = options.pop("components", None)
    if isinstance(threshold, int | float) and not isinstance(threshold, bool):
        chosen: Any = FixedThreshold(float(threshold))
    else:
        chosen = _made("coarse", THRESHOLDS, {"threshold": threshold}, "threshold")
    if components is None:
        if options:
            raise InputError(f"coarse.{min(options)} needs coarse.components, one of {', '.join(COMPONENTS)}")
        return CoarseMask(chosen, None)
    return CoarseMask(chosen, _made("coarse", COMPONENTS, {"components": components, **options}, "components"))


def _made(group: str, table: Mapping[str, Callable[..., Any]], settings: Mapping[str, Any], key: str) -> Any:
    """The entry of a table that ``settings[key]`` names, made with the other settings."""
    options = dict(settings)
    name = options.pop(key, None)
    if name not in table:
        raise InputError(f"{group}.{key} must be one of {', '.join(table)}, got {name!r}")
    return _checked(group, table[name], options)


def _checked(group: str, make: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """``make(**options)``, with what it refuses named as the user's setting."""
    try:
        return make(**options)
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).split("__init__() ")[-1]
        raise InputError(f"{group}: {reason}") from error
