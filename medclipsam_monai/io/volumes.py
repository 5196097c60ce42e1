"""Reads NIfTI with nibabel and NRRD, MHA and MHD with ITK (SimpleITK, which loads in a fraction of itk's seconds)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from medclipsam_monai.errors import InputError
from medclipsam_monai.io.geometry import StoredImage
from medclipsam_monai.io.guard import reading

_MILLIMETRES = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def _check_dimensions(path: Path, shape: tuple[int, ...]) -> None:
    extra = [size for size in shape[3:] if size != 1]
    if len(shape) < 2 or 0 in shape:
        raise InputError(f"{path}: must be a 2-D or 3-D image, got shape {shape}")
    if extra:
        raise InputError(
            f"{path}: is a {len(shape)}-D image of shape {shape}; save one 3-D image of it (one time point or channel)"
        )


def _nifti_pixels(image: Any, path: Path) -> np.ndarray:
    """The array with channels last: one, or three for NIfTI's RGB types."""
    kind = image.get_data_dtype()
    if kind.names:
        colours = np.asarray(image.dataobj)
        return np.stack([colours[name] for name in kind.names[:3]], axis=-1)
    if np.issubdtype(kind, np.complexfloating):
        raise InputError(f"{path}: holds complex numbers; save their magnitude")
    return image.get_fdata(dtype=np.float32, caching="unchanged")[..., None]


def _nifti_affine(image: Any, flat: bool) -> np.ndarray:
    """RAS affine in millimetres; a 2-D image's slice direction is completed by its normal."""
    units = image.header.get_xyzt_units()[0] if hasattr(image.header, "get_xyzt_units") else "mm"
    affine = np.array(image.affine, dtype=float)
    affine[:3] *= _MILLIMETRES.get(units, 1.0)
    if flat and not np.linalg.norm(affine[:3, 2]) > 0:
        normal = np.cross(affine[:3, 0], affine[:3, 1])
        affine[:3, 2] = normal / (np.linalg.norm(normal) or 1.0)
    return affine


def read_nifti(path: Path) -> StoredImage:
    """Reads a 2-D or 3-D NIfTI image; trailing axes of length 1 are allowed.

    Raises:
        InputError: damaged or cut short, a real fourth dimension, complex numbers.
    """
    with reading(path, "a NIfTI image"):
        image: Any = nib.load(path)
        _check_dimensions(path, image.shape)
        array = _nifti_pixels(image, path)
        slope, inter = image.dataobj.slope, image.dataobj.inter
        affine = _nifti_affine(image, flat=len(image.shape) == 2 or image.shape[2] == 1)
    plain = image.get_data_dtype() == np.uint8 and (slope, inter) == (1, 0)
    colour = array.shape[-1] == 3
    return StoredImage(
        array=array,
        kind="nifti",
        affine=affine,
        header=image.header.copy(),
        meta={"uint8": bool(plain or colour), "photometric": "RGB" if colour else "MONOCHROME2"},
    )


def itk_affine(frame: dict[str, tuple[float, ...]]) -> np.ndarray:
    """RAS affine of ITK's spacing, origin and direction; a 2-D image lies in the axial plane."""
    size = len(frame["spacing"])
    affine = np.eye(4)
    affine[:size, :size] = np.reshape(frame["direction"], (size, size)) * np.array(frame["spacing"])
    affine[:size, 3] = frame["origin"]
    return LPS_TO_RAS @ affine


def read_itk(path: Path) -> StoredImage:
    """Reads a 2-D or 3-D NRRD, MHA or MHD image: grey, or 8-bit RGB.

    Raises:
        InputError: damaged or cut short, four dimensions, vectors other than colours.
    """
    import SimpleITK as sitk

    with reading(path, f"an image of type {path.suffix}"):
        reader = sitk.ImageFileReader()
        reader.SetImageIO("NrrdImageIO" if path.suffix.lower() == ".nrrd" else "MetaImageIO")
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        if reader.GetDimension() > 3 or 0 in reader.GetSize():
            raise InputError(
                f"{path}: must be a 2-D or 3-D image, got size {reader.GetSize()}; save one 3-D image of it"
            )
        image = reader.Execute()
        array = sitk.GetArrayFromImage(image)
        channels = image.GetNumberOfComponentsPerPixel()
    if np.iscomplexobj(array) or (channels > 1 and not (channels in (3, 4) and array.dtype == np.uint8)):
        raise InputError(f"{path}: holds {image.GetPixelIDTypeAsString()} ({channels} a voxel); only grey or 8-bit RGB")
    array = array if channels > 1 else array[..., None]
    array = array.transpose(*reversed(range(array.ndim - 1)), array.ndim - 1)[..., :3]  # index order x, y, z
    frame = {"spacing": image.GetSpacing(), "origin": image.GetOrigin(), "direction": image.GetDirection()}
    return StoredImage(
        array=array,
        kind="itk",
        affine=itk_affine(frame),
        header=frame,
        meta={"uint8": array.dtype == np.uint8, "photometric": "RGB" if channels > 1 else "MONOCHROME2"},
    )
