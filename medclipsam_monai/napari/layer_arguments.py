"""What new layers over an image layer are made with: the labels that were found, and those to correct by."""

from __future__ import annotations

from typing import Any

import numpy as np

from medclipsam_monai.base.colours import CLASS_COLOURS
from medclipsam_monai.napari.run import LayerLabels

RECORD_KEY = "medclipsam"
"""In a labels layer's metadata: the record of what was asked and found."""
INSIDE, OUTSIDE, BOXES = "inside", "outside", "boxes"


def same_place(layer: Any) -> dict[str, Any]:
    """The transform of a layer, and its axes' names and units, as arguments of another."""
    taken: dict[str, Any] = {
        name: getattr(layer, name) for name in ("scale", "translate", "rotate", "shear", "units", "axis_labels")
    }
    return {**taken, "affine": layer.affine.affine_matrix}


def labels_arguments(layer: Any, found: LayerLabels) -> dict[str, Any]:
    """The arguments of ``viewer.add_labels`` for what was found in an image layer."""
    names = [one["name"] for one in found.record["classes"]]
    return {
        "data": found.labels,
        "name": f"{layer.name}: {', '.join(names)}",
        "features": found.features,
        "metadata": {RECORD_KEY: dict(found.record)},
        "opacity": 0.5,
        **same_place(layer),
    }


def label_colours(classes: int) -> dict[int | None, Any]:
    """The colour of each label, the same as in pictures that `medclipsam segment` writes; 0 and others have none."""
    chosen: dict[int | None, Any] = {None: np.zeros(4), 0: np.zeros(4)}
    for k in range(classes):
        chosen[k + 1] = np.array([*CLASS_COLOURS[k % len(CLASS_COLOURS)], 255]) / 255
    return chosen


def correction_arguments(layer: Any) -> dict[str, dict[str, Any]]:
    """The arguments of two points layers and a shapes layer to correct by, by their use; empty ones."""
    place, axes = same_place(layer), int(layer.ndim)
    size = 0.02 * max(layer.data.shape[:axes])
    points = {"ndim": axes, "size": size, **place}
    return {
        INSIDE: {"name": f"{layer.name}: inside", "face_color": "lime", **points},
        OUTSIDE: {"name": f"{layer.name}: outside", "face_color": "red", **points},
        BOXES: {
            "name": f"{layer.name}: boxes",
            "ndim": axes,
            "face_color": "transparent",
            "edge_color": "lime",
            "edge_width": size / 4,
            **place,
        },
    }
