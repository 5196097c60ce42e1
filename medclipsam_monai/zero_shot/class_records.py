"""What a record says of each class: how much of it there is, where, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import Tensor

from medclipsam_monai.base.colours import CLASS_COLOURS
from medclipsam_monai.io import Geometry, class_sizes
from medclipsam_monai.networks.known_texts import Nearest
from medclipsam_monai.zero_shot.result import ZeroShotResult
from medclipsam_monai.zero_shot.volumes.result import VolumeResult

DOUBTED = 0.5
"""Presence below which a class is more likely absent than there."""
_LARGE = {"mm2": (100.0, "cm²"), "mm3": (1000.0, "ml")}
_PLAIN = {"mm2": "mm²", "mm3": "mm³"}


def class_records(
    found: ZeroShotResult | VolumeResult,
    geometry: Geometry,
    spacing: Sequence[float] | None,
    nearest: Sequence[Nearest | None],
) -> list[dict[str, Any]]:
    """An entry for each class.

    Its ``size`` is None where the class is doubted, ``size_reason`` then says why: of what is not there a size would be
    read as a finding. Of a volume ``slices`` says where it is found, see `slices_of`.

    Args:
        found: what was found.
        geometry: of the file.
        spacing: millimetres along the display's axes, None where unknown.
        nearest: of what the weights know, what each class is nearest to; none where nobody has listed that.
    """
    labels = found.label_map
    sizes = class_sizes(labels, spacing, found.names, geometry.voxel_volumes)
    entries = []
    for k, (size, near) in enumerate(zip(sizes, nearest or (None,) * len(sizes), strict=True)):
        entry = {
            **size,
            "label": k + 1,
            "colour": list(CLASS_COLOURS[k % len(CLASS_COLOURS)]),
            "fraction": size["pixels"] / labels.numel(),
            "presence": found.presence[k],
            "quality": found.quality[k],
            "object_score": found.object_score[k],
            "agreement": _agreement(found.coarse[k], found.mask[k]),
            "boxes": [[round(float(v), 2) for v in box] for box in found.boxes[k]],
            "nearest_known": None if near is None else asdict(near),
        }
        presence = found.presence[k]
        if presence is not None and presence < DOUBTED:
            entry |= {"size": None, "size_reason": f"presence {presence:.2f} is below {DOUBTED}: likely not there"}
        if labels.ndim == 3:
            entry["slices"] = slices_of(labels == k + 1, geometry)
        entries.append(entry)
    return entries


def slices_of(mask: Tensor, geometry: Geometry) -> dict[str, Any]:
    """The slices that show a class of a mask (H, W, D) bool, as the file counts them along the axis that was cut.

    Returns:
        ``axis`` (0-based, of the file), ``runs`` as 0-based first and last index, ``count`` of slices that show it,
        ``of`` how many, and ``words``, which count from 1.
    """
    axis = [target for target, _ in geometry.orientation].index(2)
    flip = geometry.orientation[axis][1]
    where = np.flatnonzero(mask.any(dim=0).any(dim=0).numpy()[::flip])
    parts = np.split(where, np.flatnonzero(np.diff(where) > 1) + 1) if len(where) else []
    runs = [[int(part[0]), int(part[-1])] for part in parts]
    told = [str(first + 1) if first == last else f"{first + 1} to {last + 1}" for first, last in runs]
    words = f"slices {', '.join(told)} of {mask.shape[-1]}" if told else f"none of {mask.shape[-1]} slices"
    return {"axis": axis, "runs": runs, "count": len(where), "of": mask.shape[-1], "words": words}


def _agreement(coarse: Tensor, mask: Tensor) -> float | None:
    """Dice coefficient of the mask before SAM and the final one; None where both are empty."""
    total = int(coarse.count_nonzero() + mask.count_nonzero())  # a sum would take 8 bytes a voxel
    return 2 * int((coarse & mask).count_nonzero()) / total if total else None


def size_words(one: Mapping[str, Any]) -> str:
    """A class's size as people read it: "12.4 cm²", "1,302 pixels"."""
    if not one["pixels"]:
        return "nothing found"
    size, unit = float(one["size"]), str(one["unit"])
    factor, large = _LARGE.get(unit, (1.0, unit))
    if unit in _LARGE and size >= factor:
        return f"{_rounded(size / factor)} {large}"
    return f"{_rounded(size)} {_PLAIN.get(unit, unit)}"


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
