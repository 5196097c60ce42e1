"""Overlay pictures on the frames as they are stored, for Secondary Captures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medclipsam_monai.base.colours import COLOUR_NAMES
from medclipsam_monai.transforms import Overlay


def shown_frames(labels: np.ndarray, most: int) -> list[int]:
    """Which frames to draw: those with a mask, at most ``most`` of them, spread evenly.

    Args:
        labels: (F, rows, columns), 0 background.
        most: how many.
    """
    candidates = np.flatnonzero([frame.any() for frame in labels])
    count = min(most, len(candidates))
    return [int(candidates[int((part + 0.5) * len(candidates) / count)]) for part in range(count)]


def overlay_pictures(display: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Frames with the masks drawn in.

    Args:
        display: (N, rows, columns, 3) in [0, 1].
        labels: (N, rows, columns): 0 background, else the class's place from 1.
        classes: how many there are.

    Returns:
        (N, rows, columns, 3) uint8.
    """
    draw = Overlay()
    numbers = np.arange(1, classes + 1)[:, None, None]
    return np.stack(
        [draw(np.moveaxis(frame, -1, 0), mask == numbers) for frame, mask in zip(display, labels, strict=True)]
    )


def legend(names: Sequence[str]) -> str:
    """Which colour is which class, for a picture that must keep its frame's size: "lungs orange, heart sky blue"."""
    return ", ".join(f"{name} {COLOUR_NAMES[index % len(COLOUR_NAMES)]}" for index, name in enumerate(names))
