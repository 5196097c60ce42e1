"""Numbers in memory as the `StoredImage` that a file of them would be, and what they are refused for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.formats.stored import StoredImage
from medclipsam_monai.io.formats.tiff import lay_on_black
from medclipsam_monai.io.guard import reason
from medclipsam_monai.io.limits import check_size

NAME = "image in memory"
EXPECTED = (
    "an image in memory must be an array (H, W), (H, W, 3) or, with its spacing or affine, (H, W, D); a tensor "
    "(C, H, W) or (C, H, W, D); or an image of Pillow, nibabel, SimpleITK or ITK"
)


def check_numbers(array: np.ndarray) -> None:
    if array.dtype.kind == "c":
        raise InputError(f"{NAME}: holds complex numbers; give their magnitude")
    if array.dtype.kind not in "buif":
        raise InputError(f"{NAME}: must hold real numbers, got the type {array.dtype}")
    if array.size == 0:
        raise InputError(f"{NAME}: is empty, its shape is {array.shape}")
    check_size(array.shape, NAME)


def stored_picture(array: np.ndarray, **geometry: Any) -> StoredImage:
    """(H, W, C) as a picture; a second or fourth channel is the opacity, laid on black as a file's."""
    array = array * np.uint8(255) if array.dtype == bool else array
    if array.shape[-1] in (2, 4) and array.dtype.kind not in "uf":
        raise InputError(f"{NAME}: holds an opacity of signed numbers; give it without alpha")
    array = lay_on_black(array[..., :-1], array[..., -1:]) if array.shape[-1] in (2, 4) else array
    meta = {"uint8": array.dtype == np.uint8, "photometric": "RGB" if array.shape[-1] == 3 else "MONOCHROME2"}
    return StoredImage(array, "picture", meta=meta, spatial=False, **geometry)


def stored_volume(array: np.ndarray, affine: np.ndarray, header: Any = None) -> StoredImage:
    """(I, J[, K], C) on a RAS affine, to be written as NIfTI."""
    if array.shape[-1] == 3 and array.dtype != np.uint8:
        raise InputError(f"{NAME}: holds colours as {array.dtype}; only grey or 8-bit RGB")
    array = array.astype(np.uint8) if array.dtype == bool else array
    if header is None:
        header = nib.Nifti1Header()
        header.set_data_shape(array.shape[:-1])
        header.set_sform(affine, code="scanner")
        header.set_xyzt_units("mm")
    meta = {"uint8": array.dtype == np.uint8, "photometric": "RGB" if array.shape[-1] == 3 else "MONOCHROME2"}
    return StoredImage(array, "nifti", affine, header, meta)


@contextlib.contextmanager
def numbers_of(what: str) -> Iterator[None]:
    """Says what of an image holds no plain numbers."""
    try:
        yield
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise InputError(f"{NAME}: {what} must be plain numbers ({reason(error)})") from error


def plain_array(image: np.ndarray | Tensor) -> np.ndarray:
    """The numbers themselves: no subclass such as ``numpy.matrix``, no number type that NumPy has not."""
    with numbers_of("a tensor"):
        if isinstance(image, Tensor):
            image = image.detach().cpu()
            return (image.float() if image.dtype == torch.bfloat16 else image).numpy()
    return np.asarray(image)
