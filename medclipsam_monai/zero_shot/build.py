"""From a preset to a network that runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medclipsam_monai.base.checked_fields import check_value
from medclipsam_monai.base.devices import resolve_device
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.io.examples import Examples
from medclipsam_monai.networks.known_pictures import KnownPictures
from medclipsam_monai.networks.known_texts import KnownTexts
from medclipsam_monai.networks.protocols import TextImageEncoder
from medclipsam_monai.presets.networks import load_encoder, load_segmenter
from medclipsam_monai.presets.parameters import PresenceParameters
from medclipsam_monai.presets.preset import DEFAULT_PRESET, Preset, load_preset
from medclipsam_monai.prompts import TextLike
from medclipsam_monai.transforms.coarse import make_coarse
from medclipsam_monai.weights.bundles import log_weights
from medclipsam_monai.weights.registry import resolve
from medclipsam_monai.weights.state_dicts import load_exactly, read_state_dict
from medclipsam_monai.zero_shot.examples.network import ExampleSegmenter
from medclipsam_monai.zero_shot.network import ZeroShotSegmenter
from medclipsam_monai.zero_shot.presence import CalibratedPresence

_log = logging.getLogger(__name__)


def build_network(
    preset: str | Path | Preset = DEFAULT_PRESET,
    device: str | torch.device = "auto",
    clip: str | Path | None = None,
    sam: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    amp: bool | None = None,
    text: TextLike | None = None,
    task: str | None = None,
    checkpoint: str | Path | None = None,
    examples: Examples | None = None,
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
        checkpoint: weights of both networks in one file, see `save_checkpoint`, in place of the preset's.
        examples: labelled pictures that say where, alone where there is no text, see `ExampleSegmenter`.

    Raises:
        InputError: if weights are missing or broken, a setting is not one, the preset has no such task, or the
            checkpoint is of other networks or given beside other weights.
    """
    chosen = load_preset(preset).for_task(task).with_settings({} if settings is None else settings)
    check_value("amp", amp, bool | None)
    placed = resolve_device(device)
    for option, weights in (("clip", clip), ("sam", sam)):
        if weights is not None and not str(weights).strip():
            raise InputError(f"{option} must name weights, got {str(weights)!r}")
    if checkpoint is not None and (clip is not None or sam is not None):
        raise InputError("a checkpoint holds the weights of both networks; give it, or weights of clip and sam")
    make_coarse(chosen.settings.coarse)  # an extra that it needs is missed before the networks are loaded
    files: dict[str, str | Path] = {
        "clip": resolve(chosen.clip if clip is None else clip),
        "sam": resolve(chosen.sam if sam is None else sam),
    }
    encoder = load_encoder(chosen.encoder, files["clip"], chosen.settings.fit, placed)
    segmenter = load_segmenter(chosen.segmenter, files["sam"], placed)
    half = placed.type == "cuda" if amp is None else amp
    own = chosen.known_pictures if clip is None and checkpoint is None else ""
    known = KnownPictures.load(resolve(own)) if own else None
    presence = _presence(chosen, encoder) if clip is None and checkpoint is None and chosen.presence else None
    network = ZeroShotSegmenter(
        encoder,
        segmenter,
        chosen.settings,
        amp=half,
        text=text,
        known_pictures=known,
        calibrated_presence=presence,
    )
    if checkpoint is not None:
        load_exactly(network, read_state_dict(checkpoint), str(checkpoint))
        files = {"clip and sam": checkpoint}
    log_weights(_log, files)
    return network if examples is None else ExampleSegmenter(network, examples)


def _presence(preset: Preset, encoder: TextImageEncoder) -> CalibratedPresence:
    known = KnownTexts(encoder, preset.knows, preset.stranger_below)
    slices = PresenceParameters(**preset.slice_presence) if preset.slice_presence else None
    return CalibratedPresence(PresenceParameters(**preset.presence), known.vectors, slices)


def save_checkpoint(network: ZeroShotSegmenter, path: str | Path) -> Path:
    """Write the weights of both networks as one plain state dict, for programs that look for a ``models/model.pt``.

    Raises:
        InputError: the file cannot be written.
    """
    state = network.state_dict()
    return write_atomically(Path(path), lambda part: torch.save(state, part))
