"""From a preset to a network that runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medclipsam_monai.base.checked_fields import check_value
from medclipsam_monai.base.devices import resolve_device
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.presets.networks import load_encoder, load_segmenter
from medclipsam_monai.presets.preset import Preset, load_preset
from medclipsam_monai.prompts import TextLike
from medclipsam_monai.transforms.coarse import make_coarse
from medclipsam_monai.weights.registry import resolve
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter


def build_network(
    preset: str | Path | Preset = "demo",
    device: str | torch.device = "auto",
    clip: str | Path | None = None,
    sam: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    amp: bool | None = None,
    text: TextLike | None = None,
    task: str | None = None,
) -> ZeroShotSegmenter:
    """The zero-shot network of a preset, loaded and placed.

    Args:
        preset: a name, a JSON file or a `Preset`.
        device: "auto", "cpu", "cuda", "mps"...
        clip: weights of the text-image encoder in place of the preset's.
        sam: weights of the promptable segmenter in place of the preset's.
        settings: single settings changed, see `Settings.replace`.
        amp: half precision in the segmenter's image encoder; None for yes on cuda and no elsewhere.
        text: classes to look for where a call names none.
        task: one of the preset's tasks, see `Preset.for_task`; the settings come on top of it.

    Raises:
        InputError: if weights are missing or broken, a setting is not one, or the preset has no such task.
    """
    chosen = load_preset(preset).for_task(task).with_settings({} if settings is None else settings)
    check_value("amp", amp, bool | None)
    placed = resolve_device(device)
    for option, weights in (("clip", clip), ("sam", sam)):
        if weights is not None and not str(weights).strip():
            raise InputError(f"{option} must name weights, got {str(weights)!r}")
    make_coarse(chosen.settings.coarse)  # an extra that it needs is missed before the networks are loaded
    encoder = load_encoder(chosen.encoder, resolve(chosen.clip if clip is None else clip), chosen.settings.fit, placed)
    segmenter = load_segmenter(chosen.segmenter, resolve(chosen.sam if sam is None else sam), placed)
    half = placed.type == "cuda" if amp is None else amp
    return ZeroShotSegmenter(encoder, segmenter, chosen.settings, amp=half, text=text)
