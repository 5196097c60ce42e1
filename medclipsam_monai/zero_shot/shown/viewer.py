"""A volume to scroll and turn in a notebook, by ipyniivue, which is optional."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import Geometry

_COLOURS = ("red", "green", "blue", "violet")  # niivue's own colour maps, for the classes in turn
_OPACITY = 0.5


def volume_viewer(display: Tensor, geometry: Geometry, name: str, label_map: Tensor | None = None) -> Any:
    """A widget with a volume and a layer for each class, in RAS millimetres.

    Args:
        display: (3, H, W, D) in [0, 1]; the first channel is shown.
        geometry: of the volume.
        name: of the volume.
        label_map: (H, W, D) uint8: 0 background, else the class's number; None for the volume alone.

    Returns:
        `ipyniivue.NiiVue`.

    Raises:
        InputError: ipyniivue is not installed, or the image is no volume.
    """
    if display.ndim != 4:
        raise InputError(f"{name} is a picture; a viewer turns volumes, a picture shows itself")
    try:
        from ipyniivue import NiiVue, Volume
    except ImportError as error:
        raise InputError("the viewer needs ipyniivue: pip install 'medclipsam-monai[notebook]'") from error
    grey = (display[0].cpu().numpy() * 255).round().astype(np.uint8)
    layers = [Volume(name="image.nii", data=_nifti(grey, geometry))]
    for k in range(0 if label_map is None else int(label_map.max())):
        mask = (label_map == k + 1).cpu().numpy().astype(np.uint8)  # type: ignore[union-attr]
        colour = _COLOURS[k % len(_COLOURS)]
        content = _nifti(mask, geometry)
        layers.append(Volume(name=f"class_{k + 1}.nii", data=content, colormap=colour, opacity=_OPACITY))
    viewer = NiiVue()
    viewer.load_volumes(layers)
    return viewer


def _nifti(values: np.ndarray, geometry: Geometry) -> bytes:
    """Values (H, W, D) of an upright volume as the content of a NIfTI file."""
    return nib.Nifti1Image(values, geometry.display_affine).to_bytes()
