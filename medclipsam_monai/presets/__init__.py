"""Presets: which weights, which parameters. Each is one JSON file in this folder, or one of the user's.

Reading one loads no model code; `medclipsam_monai.zero_shot.build` makes a network of it.
"""

from __future__ import annotations

from medclipsam_monai.presets.preset import DEFAULT_PRESET, Preset, load_preset, preset_names

__all__ = ["DEFAULT_PRESET", "Preset", "load_preset", "preset_names"]
