"""Arrays and plain tensors: rows first, placed by a spacing or an affine that the caller gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.data import MetaTensor
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.formats.stored import StoredImage
from medclipsam_monai.io.memory.meta_tensors import own_affine
from medclipsam_monai.io.memory.stored import (
    EXPECTED,
    NAME,
    check_numbers,
    numbers_of,
    plain_array,
    stored_picture,
    stored_volume,
)

_COLOURS = (1, 3, 4)


def from_numbers(image: np.ndarray | Tensor, spacing: Sequence[float] | None, affine: Any) -> StoredImage:
    """See `read_memory`, whose arguments these are.

    Raises:
        InputError: see there.
    """
    if spacing is not None and affine is not None:
        raise InputError(f"{NAME}: give its spacing or its affine, not both")
    with numbers_of("its spacing or affine"):
        spacing = None if spacing is None else tuple(float(length) for length in spacing)
        affine = None if affine is None else np.asarray(affine, dtype=float)
    if isinstance(image, MetaTensor) and affine is None and spacing is None:
        affine = own_affine(image)
    placed = affine is not None or (spacing is not None and len(spacing) == 3)
    array = _channels_last(plain_array(image), isinstance(image, Tensor), placed)
    check_numbers(array)
    if affine is not None:
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise InputError(f"{NAME}: its affine must be 4 x 4 finite numbers, got {affine.tolist()}")
        return stored_volume(array, affine)
    if spacing is not None and (len(spacing) != array.ndim - 1 or not all(0 < length < np.inf for length in spacing)):
        raise InputError(f"{NAME}: its spacing must be {array.ndim - 1} positive millimetres, got {spacing}")
    if array.ndim == 3:
        return stored_picture(array, spacing=spacing)
    if spacing is None:
        raise InputError(f"{NAME}: is a volume of shape {tuple(image.shape)}; give its spacing or affine")
    rows, columns, slices = spacing  # as an axial volume is shown: rows to the back, columns to the left
    return stored_volume(array, np.array([[0, -columns, 0, 0], [-rows, 0, 0, 0], [0, 0, slices, 0], [0, 0, 0, 1.0]]))


def _channels_last(image: np.ndarray, channels_first: bool, placed: bool) -> np.ndarray:
    """(H, W, C) or (H, W, D, C); ``placed``: three axes without channels are a volume's."""
    given = f"{EXPECTED}; got the shape {image.shape}"
    if channels_first:
        if image.ndim == 2 or (image.ndim == 3 and image.shape[0] not in _COLOURS and placed):
            return image[..., None]
        if image.ndim not in (3, 4) or image.shape[0] not in _COLOURS:
            raise InputError(given)
        return np.moveaxis(image, 0, -1)
    if image.ndim == 2 or (image.ndim == 3 and placed):
        return image[..., None]
    if image.ndim == 3 and image.shape[-1] in _COLOURS:
        return image
    if image.ndim == 3:
        raise InputError(f"{NAME}: is a volume of shape {image.shape}; give its spacing or affine")
    raise InputError(given)
