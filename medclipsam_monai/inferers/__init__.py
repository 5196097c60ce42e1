"""MONAI inferers driven by text: pictures, and volumes slice by slice."""

from __future__ import annotations

from medclipsam_monai.inferers.text_prompted import TextPromptedInferer, segment_volume

__all__ = ["TextPromptedInferer", "segment_volume"]
