"""Images that are in memory already: arrays, tensors, and the images of Pillow, nibabel, SimpleITK and ITK.

They become the same `StoredImage` that a file does, so that what a file would be refused for, they are refused for.
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from PIL import Image
from torch import Tensor

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.io.formats.pictures import exif_orientation, picture_pixels
from medclipsam_monai.io.formats.tiff import lay_on_black
from medclipsam_monai.io.formats.volumes import itk_affine
from medclipsam_monai.io.geometry import StoredImage
from medclipsam_monai.io.guard import one_line, reason
from medclipsam_monai.io.limits import check_size
from medclipsam_monai.io.readers import show_upright

NAME = "image in memory"
_COLOURS = (1, 3, 4)
_MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}
_EXPECTED = (
    "an image in memory must be an array (H, W), (H, W, 3) or, with its spacing or affine, (H, W, D); a tensor "
    "(C, H, W) or (C, H, W, D); or an image of Pillow, nibabel, SimpleITK or ITK"
)


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
            - a tensor: a picture (C, H, W), or a volume (C, H, W, D), C = 1, 3 or 4; a ``MetaTensor`` whose affine is
              not the identity is placed by it;
            - a ``PIL.Image.Image``, which is turned upright by its EXIF tag;
            - an image of nibabel, SimpleITK or ITK, with its own geometry.
        slice_axis: see `read_image`. A volume that has only a spacing is cut along its last axis.
        spacing: of an array or tensor, millimetres along H and W, and along D of a volume.
        affine: of an array or tensor, 4 x 4, index along its axes to RAS millimetres; in place of the spacing.

    Returns:
        See `read_image`; ``meta["sha256"]`` is the hash of the numbers, their type, shape and affine, and there is no
        ``meta["source"]``. A `read_image` result is given back as it is, with its hash.

    Raises:
        InputError: no image, four dimensions, no numbers, or what a file would be refused for.
        ValueError: an unknown slice axis.
    """
    if isinstance(image, MetaTensor) and "geometry" in image.meta:
        image.meta["sha256"] = _hash(image.numpy(), image.affine.numpy())
        return image
    plain = isinstance(image, np.ndarray | Tensor)
    if not plain and (spacing is not None or affine is not None):
        raise InputError(f"{NAME}: brings its own geometry; spacing and affine are for arrays and tensors")
    with one_line(NAME, "an image"):
        if isinstance(image, Image.Image):
            stored = _from_pillow(image)
        elif isinstance(image, nib.spatialimages.SpatialImage):
            stored = _from_nibabel(image)
        elif _is_itk(image):
            stored = _from_itk(image)
        elif plain:
            stored = _from_numbers(image, spacing, affine)
        else:
            raise InputError(f"{_EXPECTED}; got {type(image).__name__}")
    if plain and affine is None and slice_axis == "acquired" and not isinstance(image, MetaTensor):
        slice_axis = "axial"  # rows, columns, slices: the array says itself how it is cut
    shown = show_upright(stored, slice_axis, NAME, NAME)
    shown.meta["sha256"] = _hash(stored.array, stored.affine)
    return shown


def _hash(array: np.ndarray, affine: np.ndarray | None) -> str:
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    digest.update(np.ascontiguousarray(array).data)
    if affine is not None:
        digest.update(np.asarray(affine, dtype=np.float64).tobytes())
    return digest.hexdigest()


def _check(array: np.ndarray) -> None:
    if array.dtype.kind == "c":
        raise InputError(f"{NAME}: holds complex numbers; give their magnitude")
    if array.dtype.kind not in "buif":
        raise InputError(f"{NAME}: must hold real numbers, got the type {array.dtype}")
    if array.size == 0:
        raise InputError(f"{NAME}: is empty, its shape is {array.shape}")
    check_size(array.shape, NAME)


def _picture(array: np.ndarray, **geometry: Any) -> StoredImage:
    """(H, W, C) as a picture; four channels are red, green, blue and opacity, laid on black as a file's."""
    array = array * np.uint8(255) if array.dtype == bool else array
    if array.shape[-1] == 4 and array.dtype.kind not in "uf":
        raise InputError(f"{NAME}: holds an opacity of signed numbers; give it without alpha")
    array = lay_on_black(array[..., :3], array[..., 3:]) if array.shape[-1] == 4 else array
    meta = {"uint8": array.dtype == np.uint8, "photometric": "RGB" if array.shape[-1] == 3 else "MONOCHROME2"}
    return StoredImage(array, "picture", meta=meta, spatial=False, **geometry)


def _volume(array: np.ndarray, affine: np.ndarray, header: Any = None) -> StoredImage:
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


def _from_numbers(image: np.ndarray | Tensor, spacing: Sequence[float] | None, affine: Any) -> StoredImage:
    if spacing is not None and affine is not None:
        raise InputError(f"{NAME}: give its spacing or its affine, not both")
    with _numbers_of("its spacing or affine"):
        spacing = None if spacing is None else tuple(float(length) for length in spacing)
        affine = None if affine is None else np.asarray(affine, dtype=float)
    if isinstance(image, MetaTensor) and affine is None and spacing is None and not _is_identity(image.affine):
        affine = image.affine.detach().cpu().numpy().astype(float)
    placed = affine is not None or (spacing is not None and len(spacing) == 3)
    array = _channels_last(_plain(image), isinstance(image, Tensor), placed)
    _check(array)
    if affine is not None:
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise InputError(f"{NAME}: its affine must be 4 x 4 finite numbers, got {affine.tolist()}")
        return _volume(array, affine)
    if spacing is not None and (len(spacing) != array.ndim - 1 or not all(0 < length < np.inf for length in spacing)):
        raise InputError(f"{NAME}: its spacing must be {array.ndim - 1} positive millimetres, got {spacing}")
    if array.ndim == 3:
        return _picture(array, spacing=spacing)
    if spacing is None:
        raise InputError(f"{NAME}: is a volume of shape {tuple(image.shape)}; give its spacing or affine")
    rows, columns, slices = spacing  # as an axial volume is shown: rows to the back, columns to the left
    return _volume(array, np.array([[0, -columns, 0, 0], [-rows, 0, 0, 0], [0, 0, slices, 0], [0, 0, 0, 1.0]]))


@contextlib.contextmanager
def _numbers_of(what: str) -> Iterator[None]:
    """Says what of an image holds no plain numbers."""
    try:
        yield
    except (TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        raise InputError(f"{NAME}: {what} must be plain numbers ({reason(error)})") from error


def _plain(image: np.ndarray | Tensor) -> np.ndarray:
    """The numbers themselves: no subclass such as ``numpy.matrix``, no number type that NumPy has not."""
    with _numbers_of("a tensor"):
        if isinstance(image, Tensor):
            image = image.detach().cpu()
            return (image.float() if image.dtype == torch.bfloat16 else image).numpy()
    return np.asarray(image)


def _is_identity(affine: Tensor) -> bool:
    return bool(np.array_equal(affine.detach().cpu().numpy(), np.eye(len(affine))))


def _channels_last(image: np.ndarray, channels_first: bool, placed: bool) -> np.ndarray:
    """(H, W, C) or (H, W, D, C); ``placed``: three axes without channels are a volume's."""
    given = f"{_EXPECTED}; got the shape {image.shape}"
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


def _from_pillow(picture: Image.Image) -> StoredImage:
    check_size((picture.height, picture.width, len(picture.getbands())), NAME)
    if 0 in picture.size:
        raise InputError(f"{NAME}: is empty, its size is {picture.size}")
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format != "MPO":
        raise InputError(f"{NAME}: holds {frames} pages; give the one to segment as a picture of its own")
    picture.load()
    orientation = exif_orientation(picture)
    if orientation is not None:
        warnings.warn(
            f"{NAME}: is turned by its EXIF tag: segmented upright, the mask lies on the picture's own pixels",
            InputWarning,
            stacklevel=2,
        )
    return _picture(picture_pixels(picture), orientation=orientation)


def _from_nibabel(image: Any) -> StoredImage:
    shape = image.shape
    if len(shape) < 2 or 0 in shape or any(size != 1 for size in shape[3:]):
        raise InputError(f"{NAME}: must be a 2-D or 3-D image, got shape {shape}; give one 3-D image of it")
    check_size(shape, NAME)
    array = np.asanyarray(image.dataobj)
    array = array.reshape(shape[:3])
    colours = array.dtype.names
    array = np.stack([array[name] for name in colours[:3]], axis=-1) if colours else array[..., None]
    _check(array)
    is_nifti = isinstance(image.header, nib.Nifti1Header)
    affine = np.array(image.affine if image.affine is not None else np.eye(4), dtype=float)
    affine[:3] *= _MILLIMETRES.get(image.header.get_xyzt_units()[0], 1.0) if is_nifti else 1.0
    flat = len(shape) == 2 or shape[2] == 1
    if flat and not np.linalg.norm(affine[:3, 2]) > 0:
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / (np.linalg.norm(normal) or 1.0)
    header = image.header.copy() if is_nifti else None
    return _volume(array, affine, header)


def _is_itk(image: Any) -> bool:
    """Told by the names of modules, for their import takes seconds and nobody who has no image of them needs it."""
    module = type(image).__module__
    return module.split(".")[0] in ("SimpleITK", "itk") and hasattr(image, "GetDirection")


def _from_itk(image: Any) -> StoredImage:
    simple = type(image).__module__.startswith("SimpleITK")
    dimensions = int(image.GetDimension() if simple else image.GetImageDimension())
    region = image.GetSize() if simple else image.GetLargestPossibleRegion().GetSize()
    sides = tuple(int(region[axis]) for axis in range(dimensions))
    if dimensions not in (2, 3) or 0 in sides:
        raise InputError(f"{NAME}: must be a 2-D or 3-D image, got size {sides}; give one 3-D image of it")
    channels = int(image.GetNumberOfComponentsPerPixel())
    check_size((*sides, channels), NAME)
    if simple:
        import SimpleITK as sitk

        array, direction = sitk.GetArrayFromImage(image), image.GetDirection()
    else:
        import itk

        array = np.array(itk.array_view_from_image(image))
        direction = np.asarray(itk.array_from_matrix(image.GetDirection())).ravel()
    array = array if array.ndim > dimensions else array[..., None]
    if channels > 1 and not (channels in (3, 4) and array.dtype == np.uint8):
        raise InputError(f"{NAME}: holds {channels} {array.dtype} numbers a voxel; only grey or 8-bit RGB")
    _check(array)
    array = array.transpose(*reversed(range(dimensions)), dimensions)[..., :3]  # index order x, y, z
    axes = range(dimensions)
    frame = {
        "spacing": tuple(float(image.GetSpacing()[axis]) for axis in axes),
        "origin": tuple(float(image.GetOrigin()[axis]) for axis in axes),
        "direction": tuple(float(cosine) for cosine in direction),
    }
    meta = {"uint8": array.dtype == np.uint8, "photometric": "RGB" if channels > 1 else "MONOCHROME2"}
    return StoredImage(array, "itk", itk_affine(frame), frame, meta)
