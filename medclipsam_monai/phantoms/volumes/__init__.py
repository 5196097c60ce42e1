"""Phantom volumes: a CT of chest and abdomen and an MR of the head, with true masks."""

from __future__ import annotations

from medclipsam_monai.phantoms.volumes.saving import CT_WINDOW, save_phantom_volume, write_phantom_volume_series
from medclipsam_monai.phantoms.volumes.volume import (
    VOLUME_TARGETS,
    VOLUME_TASKS,
    PhantomVolume,
    make_phantom_volume,
)

__all__ = [
    "CT_WINDOW",
    "VOLUME_TARGETS",
    "VOLUME_TASKS",
    "PhantomVolume",
    "make_phantom_volume",
    "save_phantom_volume",
    "write_phantom_volume_series",
]
