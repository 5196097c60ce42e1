"""How a DICOM image asks to be shown (PS3.3 C.11.2): its window or VOI LUT, which never change the image's numbers.

The first window counts; a VOI LUT where there is no window. An enhanced multi-frame image may have another window for
each frame; the slices of a series share that of the middle one, so that they stay comparable. Colours have no window:
deeper ones than 8 bits are shown over their full range.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from medclipsam_monai.io.dicom.geometry import Slice
from medclipsam_monai.io.dicom.header import first_number, frame_count, frame_value, functional_group
from medclipsam_monai.io.dicom.pixels import lookup_table
from medclipsam_monai.io.dicom.stated import FUNCTIONS, VOI


def display_meta(slices: Sequence[Slice], colour: bool, top: float | None) -> dict[str, Any]:
    """The part of an image's meta data that tells how to show it.

    Args:
        slices: in the order of the volume.
        colour: whether it has three channels.
        top: the greatest value of a colour that is deeper or shallower than 8 bits, else None.

    Returns:
        "photometric", "modality", "window_center", "window_width" (as stated; None where there is none) and "voi", the
        mapping that `medclipsam_monai.transforms.voi.apply_voi` knows, with its windows along the slices; or None.
    """
    middle = slices[len(slices) // 2]
    header = middle.header
    window = None if colour else _window(middle)
    meta: dict[str, Any] = {
        "photometric": str(header.get("PhotometricInterpretation", "MONOCHROME2")),
        "modality": str(header.get("Modality", "")) or None,
        "window_center": window[0] if window else None,
        "window_width": window[1] if window else None,
        "voi": None,
    }
    if colour:
        meta["voi"] = None if top is None else {"function": "LINEAR_EXACT", "windows": [[top / 2, top]]}
    elif window:
        meta["voi"] = {"function": _function(middle), "windows": _windows(slices, window)}
    else:
        meta["voi"] = _table(middle)
    return meta


def _window(one: Slice) -> tuple[float, float] | None:
    centre = first_number(frame_value(one.header, one.frame, VOI, "WindowCenter"))
    width = first_number(frame_value(one.header, one.frame, VOI, "WindowWidth"))
    return (centre, width) if centre is not None and width is not None and width > 0 else None


def _function(one: Slice) -> str:
    stated = str(frame_value(one.header, one.frame, VOI, "VOILUTFunction") or "LINEAR").strip().upper()
    return stated if stated in FUNCTIONS else "LINEAR"


def _windows(slices: Sequence[Slice], middle: tuple[float, float]) -> list[list[float]]:
    """One window for all, or where frames of one image differ one for each."""
    if frame_count(slices[0].header) == 1:
        return [list(middle)]
    each = [list(_window(one) or middle) for one in slices]
    return each if any(window != each[0] for window in each) else each[:1]


def _table(one: Slice) -> dict[str, Any] | None:
    """The first VOI LUT as the corners of its curve from modality values to [0, 1]; None where there is none."""
    holder = functional_group(one.header, one.frame, VOI) or one.header
    tables = holder.get("VOILUTSequence") or one.header.get("VOILUTSequence")
    if not tables:
        return None
    first, entries, bits = lookup_table(tables[0], signed=_is_signed(one.header))
    y = np.clip(entries / (2.0 ** (bits & 0xFFFF) - 1), 0, 1) if 0 < (bits & 0xFFFF) <= 16 else None
    if y is None or len(y) < 2:
        return None
    corner = np.ones(len(y), bool)
    corner[1:-1] = np.abs(np.diff(y, 2)) > 1e-9
    x = np.flatnonzero(corner)
    return {"function": "TABLE", "x": [int(value) + first for value in x], "y": [round(float(v), 9) for v in y[x]]}


def _is_signed(header: Dataset) -> bool:
    """Whether the modality values, which go into a VOI LUT, may be below 0."""
    if header.get("ModalityLUTSequence"):
        return False
    return bool(header.get("PixelRepresentation")) or (first_number(header.get("RescaleIntercept")) or 0) < 0
