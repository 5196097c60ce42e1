"""Presets: which weights, which parameters. Each is one JSON file in this folder, or one of the user's."""

from __future__ import annotations

from medclipsam_monai.presets.build import build_network
from medclipsam_monai.presets.preset import Preset, load_preset, preset_names

__all__ = ["Preset", "build_network", "load_preset", "preset_names"]
