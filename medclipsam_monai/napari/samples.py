"""Sample data: phantoms, a picture and a volume, as napari takes layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from medclipsam_monai.napari.layers import WORLD_KEY
from medclipsam_monai.phantoms.samples import sample_pictures
from medclipsam_monai.phantoms.seeds import VOLUMES
from medclipsam_monai.phantoms.volumes import CT_WINDOW, make_phantom_volume

LayerData = tuple[np.ndarray, dict[str, Any], str]
"""An array, the arguments of the layer, and its kind."""


def phantom_picture() -> list[LayerData]:
    """A chest X-ray."""
    with Image.open(sample_pictures()["xray_normal"]) as picture:
        return [(np.array(picture.convert("L")), {"name": "phantom X-ray"}, "image")]


def phantom_volume() -> list[LayerData]:
    """A CT of chest and abdomen: slices from foot to head, rows to the back, columns to the patient's left."""
    volume = make_phantom_volume("chest_abdomen_ct", VOLUMES.first, (96, 96, 48))
    scale = np.abs(np.diag(volume.affine))[2::-1]
    centre, width = CT_WINDOW
    first = volume.affine @ [volume.image.shape[0] - 1, volume.image.shape[1] - 1, 0, 1]
    arguments = {
        "name": "phantom CT",
        "scale": tuple(scale),
        "translate": (first[2], -first[1], -first[0]),
        "units": ("mm", "mm", "mm"),
        "contrast_limits": (centre - width / 2, centre + width / 2),
        "metadata": {WORLD_KEY: "SPL"},
    }
    return [(np.ascontiguousarray(volume.image[::-1, ::-1].T), arguments, "image")]
