"""Phantoms as DICOM files with true masks, for tests and the demo: no patient, and every file says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class PhantomSeries:
    """A series that was written.

    Attributes:
        files: one a slice, or the one file of a picture.
        masks: (F, rows, columns) bool by target, in the order of ``files`` (of the frames, for one multi-frame file).
    """

    files: tuple[Path, ...]
    masks: Mapping[str, np.ndarray]


def write_phantom_volume(
    folder: str | Path,
    modality: str = "CT",
    *,
    slices: int = 8,
    seed: int = 0,
    directions: tuple[float, ...] = AXIAL,
    spacing: tuple[float, float, float] = (1.5, 1.5, 5.0),
    order: str = "forward",
) -> PhantomSeries:
    """A CT of the chest or an MR of the head as a series of slices.

    Args:
        folder: where to; the names of the files say nothing of the order.
        modality: "CT" or "MR".
        slices: how many.
        seed: which phantom; the same seed gives the same pixels and UIDs.
        directions: ImageOrientationPatient: direction cosines of a row, then of a column.
        spacing: millimetres between rows, columns and slices.
        order: how files and InstanceNumber run along the normal: "forward", "reversed" or "shuffled".

    Raises:
        ValueError: an unknown modality or order, directions that are no right angle.
        InputError: the folder cannot be written.
    """
    raise NotImplementedError


def write_phantom_xray(folder: str | Path, *, seed: int = 0, photometric: str = "MONOCHROME2") -> PhantomSeries:
    """A chest X-ray as one digital radiograph: 12 bits in 16, without a frame of reference.

    Args:
        folder: where to.
        seed: which phantom.
        photometric: "MONOCHROME2" or "MONOCHROME1".

    Raises:
        ValueError: another photometric interpretation.
        InputError: the folder cannot be written.
    """
    raise NotImplementedError


def write_phantom_ultrasound(folder: str | Path, *, seed: int = 0, frames: int = 1) -> PhantomSeries:
    """A breast ultrasound as RGB with text burned in, without a frame of reference; more frames are a grey cine.

    Args:
        folder: where to.
        seed: which phantom.
        frames: 1 for a picture.

    Raises:
        ValueError: no frame.
        InputError: the folder cannot be written.
    """
    raise NotImplementedError
