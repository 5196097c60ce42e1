"""From what was found in the upright image to the frames of the DICOM files it came from, and pictures of them.

The reader sorts slices along their normal and turns the volume upright; `Geometry` puts a mask back on the sorted
volume, and the order of the slices is taken from their own positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from pydicom.dataset import Dataset

from medclipsam_monai.io import Geometry, restore_geometry
from medclipsam_monai.io.formats.volumes import LPS_TO_RAS
from medclipsam_monai.transforms import Overlay

_COLOURS = ("orange", "sky blue", "green", "yellow", "purple", "vermilion", "blue")  # of CLASS_COLOURS


def to_frames(values: np.ndarray | torch.Tensor, geometry: Geometry, order: Sequence[int]) -> np.ndarray:
    """Upright maps or pictures as frames in the order of the files.

    Args:
        values: (C, H, W) or (C, H, W, D).
        geometry: of the image that was read.
        order: see `frame_order`.

    Returns:
        (C, F, rows, columns).
    """
    shape = geometry.shape
    stored = restore_geometry(values, geometry).reshape(len(values), *shape)
    if len(shape) == 2:  # a picture: rows and columns as they are
        return stored[:, None]
    frames = np.empty((len(stored), shape[2], shape[1], shape[0]), stored.dtype)
    frames[:, list(order)] = stored.transpose(0, 3, 2, 1)
    return frames


def frame_order(headers: Sequence[Dataset], geometry: Geometry) -> list[int]:
    """For each slice of the sorted volume, which file (or frame of the one file) it is.

    Args:
        headers: of all files in any order, or of the one file.
        geometry: of the image that was read from them.
    """
    positions = _positions(headers)
    if geometry.affine is None or len(positions) < 2:
        return list(range(len(positions) or int(headers[0].get("NumberOfFrames") or 1)))
    points = np.c_[np.array(positions, dtype=float), np.ones(len(positions))].T
    places = (np.linalg.inv(LPS_TO_RAS @ geometry.affine) @ points)[2]
    return [int(index) for index in np.argsort(places, kind="stable")]


def _positions(headers: Sequence[Dataset]) -> list[Sequence[float]]:
    """ImagePositionPatient of each slice or frame; empty where frames have none of their own."""
    if int(headers[0].get("NumberOfFrames") or 1) == 1:
        return [header.ImagePositionPatient for header in headers if "ImagePositionPatient" in header]
    groups = headers[0].get("PerFrameFunctionalGroupsSequence") or []
    planes = [group.get("PlanePositionSequence") for group in groups]
    return [plane[0].ImagePositionPatient for plane in planes if plane]


def shown_frames(masks: np.ndarray, most: int) -> list[int]:
    """Which frames to draw: those with a mask, at most ``most`` of them, spread evenly.

    Args:
        masks: (K, F, rows, columns) bool.
        most: how many.
    """
    candidates = np.flatnonzero(masks.any(axis=(0, 2, 3)))
    count = min(most, len(candidates))
    return [int(candidates[int((part + 0.5) * len(candidates) / count)]) for part in range(count)]


def overlay_frames(display: np.ndarray, masks: np.ndarray, frames: Sequence[int]) -> np.ndarray:
    """Frames as they are stored, with the masks drawn in.

    Args:
        display: (3, F, rows, columns) in [0, 1].
        masks: (K, F, rows, columns) bool.
        frames: which ones.

    Returns:
        (N, rows, columns, 3) uint8.
    """
    draw = Overlay()
    return np.stack([draw(display[:, frame], masks[:, frame]) for frame in frames])


def legend(names: Sequence[str]) -> str:
    """Which colour is which class, for a picture that must keep its frame's size: "lungs orange, heart sky blue"."""
    return ", ".join(f"{name} {_COLOURS[index % len(_COLOURS)]}" for index, name in enumerate(names))
