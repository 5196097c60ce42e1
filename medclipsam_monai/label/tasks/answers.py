"""The file of a label map that goes back to a client, in the form that its viewer asks for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from monailabel.transform.writer import write_itk
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import Geometry, restore_geometry, write_mask
from medclipsam_monai.label.options import choice_option, flag_option

_EXTENSIONS = ("", ".nii.gz", ".nii", ".nrrd", ".mha", ".png")
_TYPES = ["uint8", "uint16"]


def send_label(labels: Tensor, geometry: Geometry, request: Mapping[str, Any]) -> str:
    """Write a label map into a temporary file, which MONAI Label sends and removes.

    Args:
        labels: (H, W[, D]) upright, 0 background, 1..255 the classes.
        geometry: the image's ``meta["geometry"]``.
        request: may hold MONAI Label's "result_extension" (else PNG for pictures, NIfTI or NRRD for volumes),
            "result_dtype" and "result_compress"; OHIF asks for plain 16-bit NRRD.

    Raises:
        InputError: a form that is none, or none for this image.
    """
    extension = choice_option(request, "result_extension", list(_EXTENSIONS))
    if extension == ".png" and geometry.kind != "picture":
        raise InputError("result_extension .png is for pictures; this image needs .nii.gz, .nii, .nrrd or .mha")
    if extension in ("", geometry.suffix) and "result_dtype" not in request:
        return str(write_mask(labels, geometry, _new_file(geometry.suffix).removesuffix(geometry.suffix)))
    extension = extension or geometry.suffix
    array = restore_geometry(labels, geometry)
    array = array.T if geometry.kind == "picture" else array  # ITK's columns first
    dtype = choice_option(request, "result_dtype", _TYPES)
    compress = flag_option(request, "result_compress", True)
    file = _new_file(extension)
    write_itk(array, file, geometry.affine, dtype, compress)
    return file


def centroids(labels: Tensor, geometry: Geometry, numbers: Mapping[str, int]) -> dict[str, list[float]]:
    """Where each class that was found lies, as older plugins of OHIF want it.

    Args:
        labels: as `send_label` takes it.
        geometry: the image's.
        numbers: of the classes, by name.

    Returns:
        By name [number, x, y, z]: the mean index in the image's file, columns first.
    """
    array = restore_geometry(labels, geometry)
    found = {}
    for name, number in numbers.items():
        places = np.argwhere(array == number)
        if len(places):
            index = places.mean(axis=0).tolist()
            index = index[::-1] if geometry.kind == "picture" else index
            found[name] = [float(number), *(round(value, 2) for value in [*index, 0.0][:3])]
    return found


def _new_file(extension: str) -> str:
    """An empty file of this process alone: a name that was merely free could be taken by somebody else meanwhile."""
    descriptor, name = tempfile.mkstemp(extension, "label_")
    os.close(descriptor)
    return name
