"""An image in memory of any kind as `read_image` gives one from a file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import MetaTensor
from PIL import Image
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.geometry import Geometry
from medclipsam_monai.io.guard import one_line
from medclipsam_monai.io.memory.arrays import from_numbers
from medclipsam_monai.io.memory.libraries import from_itk, from_nibabel, from_pillow, is_itk
from medclipsam_monai.io.memory.meta_tensors import from_reader, is_upright, made_by_reader
from medclipsam_monai.io.memory.stored import EXPECTED, NAME
from medclipsam_monai.io.readers import show_upright


def read_memory(
    image: Any,
    slice_axis: str = "acquired",
    spacing: Sequence[float] | None = None,
    affine: Any = None,
) -> MetaTensor:
    """An image from memory as `read_image` gives one from a file.

    Args:
        image: one of

            - a NumPy array: a picture (H, W), (H, W, 3) or (H, W, 4), or a volume (H, W, D) with spacing or affine;
            - a tensor: a picture (C, H, W), or a volume (C, H, W, D), C = 1, 3 or 4;
            - a ``MetaTensor`` of MONAI's ``LoadImage``, with channels first or as the file has them, or of `ReadImage`,
              also after spatial transforms: which way it lies, its meta data say, see `meta_tensors`. Another
              ``MetaTensor`` is a tensor that is placed by its affine, unless that is the identity;
            - a ``PIL.Image.Image``, which is turned upright by its EXIF tag;
            - an image of nibabel, SimpleITK or ITK, with its own geometry.
        slice_axis: see `read_image`. A volume that has only a spacing is cut along its last axis.
        spacing: of an array or tensor, millimetres along H and W, and along D of a volume.
        affine: of an array or tensor, 4 x 4, index along its axes to RAS millimetres; in place of the spacing.

    Returns:
        See `read_image`; ``meta["sha256"]`` is the hash of the numbers, their type, shape and affine, and there is no
        ``meta["source"]``. ``meta["geometry"]`` is of the array or tensor that came, so a mask goes back on its grid.
        A `read_image` result is given back as it is, with its hash.

    Raises:
        InputError: no image, four dimensions, no numbers, or what a file would be refused for.
        ValueError: an unknown slice axis.
    """
    if isinstance(image, MetaTensor) and isinstance(image.meta.get("geometry"), Geometry):
        image.meta["sha256"] = _hash(image.numpy(), image.affine.numpy())
        return image
    plain = isinstance(image, np.ndarray | Tensor)
    if not plain and (spacing is not None or affine is not None):
        raise InputError(f"{NAME}: brings its own geometry; spacing and affine are for arrays and tensors")
    with one_line(NAME, "an image"):
        if isinstance(image, Image.Image):
            stored = from_pillow(image)
        elif isinstance(image, nib.spatialimages.SpatialImage):
            stored = from_nibabel(image)
        elif is_itk(image):
            stored = from_itk(image)
        elif plain and spacing is None and affine is None and made_by_reader(image):
            stored = from_reader(image)
        elif plain:
            stored = from_numbers(image, spacing, affine)
        else:
            raise InputError(f"{EXPECTED}; got {type(image).__name__}")
    if plain and affine is None and slice_axis == "acquired" and not isinstance(image, MetaTensor):
        slice_axis = "axial"  # rows, columns, slices: the array says itself how it is cut
    if is_upright(image) and slice_axis == "acquired":
        slice_axis = image.meta.get("plane", slice_axis)
    shown = show_upright(stored, slice_axis, NAME, NAME)
    if is_upright(image) and "voi" in image.meta:
        shown.meta["voi"] = image.meta["voi"]
    shown.meta["sha256"] = _hash(stored.array, stored.affine, stored.orientation)
    return shown


def _hash(array: np.ndarray, affine: np.ndarray | None, orientation: Any = None) -> str:
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape} {orientation or ''}".encode())
    digest.update(np.ascontiguousarray(array).data)
    if affine is not None:
        digest.update(np.asarray(affine, dtype=np.float64).tobytes())
    return digest.hexdigest()
