"""MetaTensors as MONAI's ``LoadImage`` and our `ReadImage` make them, also after spatial transforms.

Which way such an image lies, its meta data and its affine say:

- Of `ReadImage`, known by ``meta["geometry"]``, it is upright: rows first.
- A picture of ``PILReader``, known by ``meta["width"]`` and ``["height"]``, has columns first, as ``LoadImage`` makes
  it, unless it began with the sizes of the file the other way around (``reverse_indexing=False``); then it has rows
  first. Of a square picture this cannot be told, and it is taken to have columns first: give a plain tensor (C, H, W),
  ``image.as_tensor()``, where a square picture has rows first. What EXIF says is lost in ``PILReader``.
- What another reader has put in space, known by ``meta["original_affine"]``, is placed by its affine in the
  coordinates of ``meta["space"]``, indices reversed likewise (``ITKReader(reverse_indexing=True)``).

Transforms of MONAI change the affine with the image, so a turned, flipped, cut or resampled one is still known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd
from nibabel.orientations import io_orientation

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.formats.stored import StoredImage
from medclipsam_monai.io.formats.volumes import LPS_TO_RAS
from medclipsam_monai.io.memory.stored import NAME, check_numbers, plain_array, stored_picture, stored_volume

VALUE_META = ("voi", "window_center", "window_width", "photometric", "modality")
"""Of an image of `ReadImage`: what its values mean, as in `read_image`."""
_EIGHT_BIT_MODES = ("L", "LA", "RGB", "RGBA")
_PLAIN_MODES = (*_EIGHT_BIT_MODES, "1", "F", "I", "I;16", "I;16B", "I;16L", "I;16N")
_EIGHT_BIT_NIFTI = (2, 128)  # grey, RGB
_DISPLAY_AXIS = {"rows first": (0, 1, 2), "columns first": (1, 0, 2)}  # of the axes of a picture's own plane


def is_upright(image: Any) -> bool:
    """Whether an image is one of `ReadImage`."""
    return isinstance(image, MetaTensor) and isinstance(image.meta.get("geometry"), str)


def made_by_reader(image: Any) -> bool:
    """Whether an image's meta data say which way it lies."""
    if not isinstance(image, MetaTensor):
        return False
    return is_upright(image) or ("spatial_shape" in image.meta and (_is_pil(image) or "original_affine" in image.meta))


def own_affine(image: MetaTensor) -> np.ndarray | None:
    """The RAS affine of an image that no reader made; None where it is the identity, which all of them begin with."""
    affine = _affine(image)
    return None if np.array_equal(affine, np.eye(4)) else _to_ras(affine, image)


def from_reader(image: MetaTensor) -> StoredImage:
    """An image that `made_by_reader` knows, on the grid of its own indices.

    Raises:
        InputError: a batch, pending transforms, or an image of which cannot be told how it lies.
    """
    if image.is_batch:
        raise InputError(f"{NAME}: is a batch of {len(image)}; give one image of it")
    if image.pending_operations:
        raise InputError(f"{NAME}: has transforms that wait to be applied (lazy); apply them first")
    array = _channels_last(image)
    check_numbers(array)
    array = _eight_bit(array, image.meta)
    affine = _affine(image)
    if not np.isfinite(affine).all():
        raise InputError(f"{NAME}: its affine must be 4 x 4 finite numbers, got {affine.tolist()}")
    if is_upright(image):
        return _from_read_image(array, affine, image)
    affine = _index_reversal(image) @ affine if _is_pil(image) else _true_affine(image, affine)
    if _is_pil(image):
        return stored_picture(array, orientation=_orientation(affine, "columns first"))
    if array.shape[-1] not in (1, 3):
        raise InputError(f"{NAME}: holds {array.shape[-1]} numbers a voxel; only grey or 8-bit RGB")
    return stored_volume(array, _to_ras(affine, image))


def _from_read_image(array: np.ndarray, affine: np.ndarray, image: MetaTensor) -> StoredImage:
    if "original_affine" in image.meta:
        stored = stored_volume(array, affine)
    else:
        stored = stored_picture(array, orientation=_orientation(affine, "rows first"))
    known = {key: image.meta[key] for key in VALUE_META if key != "voi" and key in image.meta}
    return replace(stored, meta={**stored.meta, **known})


def _is_pil(image: MetaTensor) -> bool:
    return "width" in image.meta and "height" in image.meta


def _affine(image: MetaTensor) -> np.ndarray:
    """4 x 4, also of an image in the plane."""
    return np.asarray(to_affine_nd(3, image.affine.detach().cpu().numpy().astype(float)))


def _to_ras(affine: np.ndarray, image: MetaTensor) -> np.ndarray:
    return LPS_TO_RAS @ affine if str(image.meta.get("space")).endswith("LPS") else affine


def file_shape(image: MetaTensor) -> tuple[int, ...]:
    """Sizes of the file that a reader made an image of, columns first."""
    return tuple(int(size) for size in image.meta["spatial_shape"])


def _sides_at_first(image: MetaTensor, dimensions: int) -> tuple[int, ...]:
    """Sizes along the axes as the reader left them, before any transform of MONAI."""
    if image.applied_operations:
        return tuple(int(size) for size in image.applied_operations[0]["orig_size"])
    sides = tuple(image.shape)
    if len(sides) == dimensions:
        return sides
    return sides[:-1] if _has_channels_last(image, dimensions) else sides[1:]


def _has_channels_last(image: MetaTensor, dimensions: int) -> bool:
    """Whether ``LoadImage`` has left the channels of a file at the end, where they are before EnsureChannelFirst."""
    channel = image.meta.get("original_channel_dim", np.nan)
    channel = np.nan if channel == "no_channel" else float(channel)
    expected = (file_shape(image), file_shape(image)[::-1])
    return bool(channel == -1 and not image.applied_operations and tuple(image.shape[:-1]) in expected)


def _channels_last(image: MetaTensor) -> np.ndarray:
    """(H, W, C) or (H, W, D, C)."""
    array, upright = plain_array(image), is_upright(image)
    dimensions = array.ndim - 1 if upright else len(file_shape(image))
    if dimensions not in (2, 3) or array.ndim not in (dimensions, dimensions + 1):
        raise InputError(f"{NAME}: must be a 2-D or 3-D image, with or without channels, got the shape {array.shape}")
    if array.ndim == dimensions:
        array = array[..., None]
    elif upright or not _has_channels_last(image, dimensions):
        array = np.moveaxis(array, 0, -1)
    if array.shape[-1] not in (1, 2, 3, 4):
        raise InputError(f"{NAME}: holds {array.shape[-1]} channels; an image has 1 to 4, got {tuple(image.shape)}")
    return array


def _eight_bit(array: np.ndarray, meta: Any) -> np.ndarray:
    """uint8 again where a reader has made other numbers of 8-bit ones, as ``LoadImage`` does."""
    mode = meta.get("mode")
    if mode is not None and mode not in _PLAIN_MODES:
        raise InputError(
            f"{NAME}: is a picture of the mode {mode}, whose numbers are no colours; load it with "
            'converter=lambda picture: picture.convert("RGB"), or give the file'
        )
    if mode == "1" and np.isin(array, (0, 1)).all():
        return (array * 255).astype(np.uint8)
    known = mode in _EIGHT_BIT_MODES or bool(meta.get("uint8", False)) or array.shape[-1] == 3
    known = known or int(meta.get("datatype", 0)) in _EIGHT_BIT_NIFTI
    if known and array.dtype != np.uint8 and ((array >= 0) & (array <= 255) & (array == np.rint(array))).all():
        return array.astype(np.uint8)
    if array.shape[-1] in (2, 4) and array.dtype != np.uint8:
        raise InputError(f"{NAME}: holds an opacity that is not of 8 bits; give it without alpha")
    return array


def to_file_index(image: MetaTensor) -> np.ndarray:
    """4 x 4: the index of an image that a reader made to the index in its file, columns first, whatever moved it since.

    Raises:
        InputError: see `from_reader`.
    """
    first = _first_affine(image) if "original_affine" in image.meta else np.eye(4)
    return np.asarray(_index_reversal(image) @ np.linalg.inv(first) @ _affine(image))


def to_world(image: MetaTensor) -> np.ndarray:
    """4 x 4: the index of an image that a reader put in space to RAS millimetres."""
    return _to_ras(_true_affine(image, _affine(image)), image)


def _index_reversal(image: MetaTensor) -> np.ndarray:
    """4 x 4: the indices in the file's order of those that the reader gave, the same or reversed.

    Raises:
        InputError: a picture whose sizes are neither the file's nor the file's reversed.
    """
    expected = file_shape(image)
    sides = _sides_at_first(image, len(expected))
    order: Sequence[int] = range(len(expected))
    if sides != expected and sides == expected[::-1]:
        order = order[::-1]
    elif sides != expected and _is_pil(image):
        raise InputError(
            f"{NAME}: cannot tell its rows from its columns: it is {' x '.join(map(str, sides))}, its file "
            f"{' x '.join(map(str, expected))} (columns x rows); give image.as_tensor() with rows first"
        )
    reversal = np.eye(4)
    reversal[: len(expected), : len(expected)] = np.eye(len(expected))[list(order)]
    return reversal


def _first_affine(image: MetaTensor) -> np.ndarray:
    return np.asarray(to_affine_nd(3, np.asarray(torch.as_tensor(image.meta["original_affine"])).astype(float)))


def _true_affine(image: MetaTensor, affine: np.ndarray) -> np.ndarray:
    """The affine of an image's indices; a reader that reverses them leaves the one of the file's own."""
    first = _first_affine(image)
    return first @ _index_reversal(image) @ np.linalg.inv(first) @ affine


def _orientation(affine: np.ndarray, plane: str) -> tuple[tuple[int, int], ...]:
    """nibabel's orientation from the axes of a picture's array to display rows, columns and slices.

    Args:
        affine: 4 x 4, index to place in the picture's own plane.
        plane: what the plane's first axis runs along, "rows first" (down) or "columns first" (to the right).
    """
    shown = _DISPLAY_AXIS[plane]
    return tuple((shown[int(axis)], int(flip)) for axis, flip in io_orientation(affine))
