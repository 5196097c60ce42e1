"""Procedural phantoms of four modalities with masks and captions: what the demo weights are trained and tested on."""

from __future__ import annotations

from medclipsam_monai.phantoms.captions import Caption, holds, sample_captions
from medclipsam_monai.phantoms.phantom import TARGETS, TASKS, Phantom, make_phantom
from medclipsam_monai.phantoms.scene import Target

__all__ = [
    "TARGETS",
    "TASKS",
    "Caption",
    "Phantom",
    "Target",
    "holds",
    "make_phantom",
    "sample_captions",
]
