"""The images of Pillow, nibabel, SimpleITK and ITK, which bring their own geometry."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.io.formats.pictures import exif_orientation, picture_pixels
from medclipsam_monai.io.formats.stored import StoredImage
from medclipsam_monai.io.formats.volumes import itk_affine
from medclipsam_monai.io.limits import check_size
from medclipsam_monai.io.memory.stored import NAME, check_numbers, stored_picture, stored_volume

_MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}


def from_pillow(picture: Image.Image) -> StoredImage:
    """A picture of Pillow, to be turned by its EXIF tag."""
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
    return stored_picture(picture_pixels(picture), orientation=orientation)


def from_nibabel(image: Any) -> StoredImage:
    """An image of nibabel on its affine."""
    shape = image.shape
    if len(shape) < 2 or 0 in shape or any(size != 1 for size in shape[3:]):
        raise InputError(f"{NAME}: must be a 2-D or 3-D image, got shape {shape}; give one 3-D image of it")
    check_size(shape, NAME)
    array = np.asanyarray(image.dataobj)
    array = array.reshape(shape[:3])
    colours = array.dtype.names
    array = np.stack([array[name] for name in colours[:3]], axis=-1) if colours else array[..., None]
    check_numbers(array)
    is_nifti = isinstance(image.header, nib.Nifti1Header)
    affine = np.array(image.affine if image.affine is not None else np.eye(4), dtype=float)
    affine[:3] *= _MILLIMETRES.get(image.header.get_xyzt_units()[0], 1.0) if is_nifti else 1.0
    flat = len(shape) == 2 or shape[2] == 1
    if flat and not np.linalg.norm(affine[:3, 2]) > 0:
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / (np.linalg.norm(normal) or 1.0)
    header = image.header.copy() if is_nifti else None
    return stored_volume(array, affine, header)


def is_itk(image: Any) -> bool:
    """Told by the names of modules, for their import takes seconds and nobody who has no image of them needs it."""
    module = type(image).__module__
    return module.split(".")[0] in ("SimpleITK", "itk") and hasattr(image, "GetDirection")


def from_itk(image: Any) -> StoredImage:
    """An image of SimpleITK or ITK on its spacing, origin and direction."""
    simple = type(image).__module__.startswith("SimpleITK")
    dimensions = int(image.GetDimension() if simple else image.GetImageDimension())
    region = image.GetSize() if simple else image.GetLargestPossibleRegion().GetSize()
    sides = tuple(int(region[axis]) for axis in range(dimensions))
    if dimensions not in (2, 3) or 0 in sides:
        raise InputError(f"{NAME}: must be a 2-D or 3-D image, got size {sides}; give one 3-D image of it")
    channels = int(image.GetNumberOfComponentsPerPixel())
    check_size((*sides, channels), NAME)
    if simple:
        array, direction = sys.modules["SimpleITK"].GetArrayFromImage(image), image.GetDirection()
    else:
        import itk

        array = np.array(itk.array_view_from_image(image))
        direction = np.asarray(itk.array_from_matrix(image.GetDirection())).ravel()
    array = array if array.ndim > dimensions else array[..., None]
    if channels > 1 and not (channels in (3, 4) and array.dtype == np.uint8):
        raise InputError(f"{NAME}: holds {channels} {array.dtype} numbers a voxel; only grey or 8-bit RGB")
    check_numbers(array)
    array = array.transpose(*reversed(range(dimensions)), dimensions)[..., :3]  # index order x, y, z
    axes = range(dimensions)
    frame = {
        "spacing": tuple(float(image.GetSpacing()[axis]) for axis in axes),
        "origin": tuple(float(image.GetOrigin()[axis]) for axis in axes),
        "direction": tuple(float(cosine) for cosine in direction),
    }
    meta = {"uint8": array.dtype == np.uint8, "photometric": "RGB" if channels > 1 else "MONOCHROME2"}
    return StoredImage(array, "itk", itk_affine(frame), frame, meta)
