"""Writes masks and maps as NIfTI that nibabel and ITK place alike, see `write_nifti`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from medclipsam_monai.io.geometry import Geometry
from medclipsam_monai.io.uneven_slices import even_grid

_ITK_SHEAR = 1e-5  # ITK takes directions for orthonormal that are so within this
_ROUNDING = 0.1  # of a voxel: what a shear may move the farthest voxel to be taken for rounding of the header


def orthonormal_affine(affine: np.ndarray) -> np.ndarray:
    """An affine without shear: the first axis, the second in its plane with it, and their normal.

    So ITK reads a series of a tilted gantry: the lengths of the columns, and so the spacing, stay.

    Args:
        affine: 4 x 4, of columns that span space.
    """
    first = affine[:3, 0] / np.linalg.norm(affine[:3, 0])
    second = affine[:3, 1] - first * (first @ affine[:3, 1])
    second /= np.linalg.norm(second)
    normal = np.cross(first, second)
    normal *= np.sign(normal @ affine[:3, 2])
    result = affine.copy()
    result[:3, :3] = np.stack([first, second, normal], axis=1) * np.linalg.norm(affine[:3, :3], axis=0)
    return result


def with_normal(affine: np.ndarray) -> np.ndarray:
    """An affine whose third column, zero in some headers of 2-D images, is then the unit normal of the others."""
    if np.linalg.norm(affine[:3, 2]) > 0:
        return affine
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    result = affine.copy()
    result[:3, 2] = normal / (np.linalg.norm(normal) or 1.0)
    return result


def _sform_of(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The affine, made orthonormal where it is so but for rounding."""
    upright = orthonormal_affine(affine)
    columns = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(columns.T @ columns - np.eye(3)).max() < _ITK_SHEAR:
        return affine
    last = np.array((*shape, 1, 1)[:3]) - 1
    moved = np.abs((upright - affine)[:3, :3]) @ last
    return upright if moved.max() < _ROUNDING * np.linalg.norm(affine[:3, :3], axis=0).min() else affine


def _has_sound_qform(header: Any) -> bool:
    """Whether the header has a qform, its numbers are finite and its quaternion has at most unit length."""
    quaternion = np.array([float(header[f"quatern_{part}"]) for part in "bcd"])
    offsets = [float(header[f"qoffset_{axis}"]) for axis in "xyz"]
    finite = np.isfinite([*quaternion, *offsets, *header["pixdim"]]).all()
    return bool(int(header["qform_code"]) > 0 and finite and quaternion @ quaternion < 1 + _ITK_SHEAR)


def _mend_forms(header: Any) -> None:
    """Adds the qform that ITK needs where the sform has a shear, and replaces a form that holds nonsense.

    The sform of a 2-D image gets the direction of its slice where it states none, as reading has it.
    """
    stated, code = header.get_best_affine(), int(header["sform_code"])
    affine = with_normal(stated)
    if code > 0 and affine is not stated:
        header.set_sform(affine, code=code)
    if code > 0 and not _has_sound_qform(header):
        header.set_qform(orthonormal_affine(affine), code=code)
    if not np.isfinite([header["srow_x"], header["srow_y"], header["srow_z"]]).all():
        header.set_sform(affine, code=0)


def _header_like(geometry: Geometry, dtype: np.dtype) -> Any:
    """The input's header for other numbers, without free text, which may name a patient."""
    header = geometry.header.copy()
    header.extensions.clear()
    for name in ("descrip", "aux_file", "db_name", "intent_name"):
        if name in header:
            header[name] = b""
    header["cal_max"] = header["cal_min"] = 0
    header.set_intent("none")
    header.set_slope_inter(1, 0)
    header.set_data_dtype(dtype)
    _mend_forms(header)
    return header


def write_nifti(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    """Writes an array of the file's own shape.

    A NIfTI input's header is kept, with its sform and qform; a qform is added where only a sform is there. Others get
    scanner coordinates in both: the affine as sform, and as qform the nearest that has no shear, since a qform can hold
    none and ITK opens no file without an orthonormal form. A shear that moves no voxel by a tenth of its size is
    rounding, and left out of both. Slices that are not evenly apart are laid on an even grid, see `even_grid`.

    Raises:
        InputError: see `even_grid`.
        OSError: the file cannot be written.
    """
    if geometry.kind == "nifti":
        header = _header_like(geometry, array.dtype)
        image_class = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
        nib.save(image_class(array, header.get_best_affine(), header), path)
        return
    affine = geometry.affine if geometry.affine is not None else np.eye(4)
    grid = even_grid(geometry)
    if grid is not None:
        array, affine = grid.lay(array), grid.affine(affine)
    sform = _sform_of(affine, array.shape)
    image = nib.Nifti1Image(array, sform)
    image.header.set_xyzt_units("mm")
    image.set_sform(sform, code="scanner")
    image.set_qform(orthonormal_affine(sform), code="scanner")
    nib.save(image, path)
