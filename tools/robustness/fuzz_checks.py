"""What must hold of every image that is read, and of a mask that is written for it."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import Geometry, read_image, restore_geometry, write_mask
from medclipsam_monai.io.readers import read_geometry
from medclipsam_monai.io.uneven_slices import even_grid
from tools.robustness.fuzz_noise import listening

_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}


class WrongError(Exception):
    """Something about an image that was read is not right."""


class NoisyError(Exception):
    """Something was printed, logged or warned while an image was read."""


def _expect(right: bool, what: str) -> None:
    if not right:
        raise WrongError(what)


def _check_places(found: np.ndarray, affine: np.ndarray, wanted: np.ndarray, reader: str) -> None:
    voxels = np.argwhere(found)
    _expect(len(voxels) == len(wanted), f"{reader} finds {len(voxels)} labelled voxels in the mask, not {len(wanted)}")
    places = voxels @ affine[:3, :3].T + affine[:3, 3]
    away = np.linalg.norm(places[:, None] - wanted[None], axis=-1).min(0)  # from each voxel drawn to the nearest found
    allowed = 1e-5 * max(1.0, np.abs(wanted).max()) + 1e-3 * np.linalg.norm(affine[:3, :3], axis=0).min()  # float32
    _expect(bool((away <= allowed).all()), f"{reader} sees the mask {away.max():g} mm from its place")


def _opened_by_nibabel(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The array with three axes and the affine to RAS in millimetres."""
    image: Any = nib.load(path)
    array = np.asarray(image.dataobj)
    scale = _MILLIMETRES.get(image.header.get_xyzt_units()[0], 1.0)
    return array.reshape((*array.shape, 1, 1)[:3]), np.diag([scale, scale, scale, 1]) @ image.affine


def _opened_by_itk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The array with three axes, x first, and the affine to RAS in millimetres."""
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    size = image.GetDimension()
    affine = np.eye(4)
    affine[:size, :size] = np.reshape(image.GetDirection(), (size, size)) * np.array(image.GetSpacing())
    affine[:size, 3] = image.GetOrigin()
    array = sitk.GetArrayFromImage(image).T
    return array.reshape((*array.shape, 1, 1)[:3]), np.diag([-1.0, -1, 1, 1]) @ affine


def check_mask(label: np.ndarray, geometry: Geometry, affine: np.ndarray, folder: Path) -> None:
    """Write a mask and open it with other software.

    Args:
        label: (H, W[, D]), upright.
        geometry: of the image.
        affine: of the image, upright voxels to RAS millimetres.
        folder: to write in.

    Raises:
        WrongError: it has another shape, or does not lie where it was drawn.
    """
    path = write_mask(label, geometry, folder / "written_mask")
    if geometry.kind == "picture":
        with Image.open(path) as picture:
            pixels = np.asarray(picture)
        _expect(pixels.shape == geometry.shape, f"the mask is {pixels.shape}, its picture {geometry.shape}")
        _expect(
            np.array_equal(pixels, restore_geometry(label, geometry)), "the mask holds other labels than were drawn"
        )
        return
    shape, grid = geometry.volume_shape, even_grid(geometry)
    if grid is not None and geometry.affine is not None:  # slices unevenly apart are laid on a grid of their own
        label, affine = grid.lay(restore_geometry(label, geometry)), grid.affine(geometry.affine)
        shape = label.shape
    drawn = np.argwhere(label)
    drawn = np.hstack([drawn, np.zeros((len(drawn), 3 - drawn.shape[1]))])
    wanted = drawn @ affine[:3, :3].T + affine[:3, 3]
    opened: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if geometry.kind != "itk":
        opened["nibabel"] = _opened_by_nibabel(path)
    if geometry.kind != "nifti":  # ITK refuses the sheared affines that a NIfTI file may have
        opened["ITK"] = _opened_by_itk(path)
    for reader, (array, own) in opened.items():
        _expect(array.shape == shape, f"{reader} sees {array.shape}, the image is {shape}")
        _check_places(array, own, wanted, reader)


def _read(path: Path) -> Any:
    """The image that a file holds.

    Raises:
        InputError: it is refused.
        WrongError: its headers alone say something else than the whole file.
        NoisyError: a library's own words came through.
    """
    image: Any = None
    known: tuple[Geometry, tuple[float, ...] | None] | None = None
    refusal = other = None
    with listening() as noise:
        try:
            image = read_image(path)
        except InputError as error:
            refusal = error
        try:
            known = read_geometry(path)
        except InputError as error:
            other = error
    if noise:
        raise NoisyError(f"{len(noise)} lines, the first: {noise[0][:200]}")
    if refusal is not None:
        raise refusal
    if known is None:
        raise WrongError(f"the image is read, its headers alone are not: {other}")
    geometry, spacing = known
    right = geometry == image.meta["geometry"] and spacing == image.meta["spacing"]
    right = right and np.array_equal(geometry.display_affine, image.affine)
    _expect(right, "the headers alone state another geometry than the whole file")
    return image


def check_image(path: Path) -> None:
    """Read an image and look at what must hold for every one.

    Raises:
        InputError: it is refused.
        WrongError: what was read is not right.
        NoisyError: a library's own words came through.
    """
    image = _read(path)
    affine, geometry = np.asarray(image.affine, dtype=float), image.meta["geometry"]
    _expect(image.ndim in (3, 4) and image.shape[0] in (1, 3), f"the image is {tuple(image.shape)}")
    _expect(bool(np.isfinite(affine).all()), "the affine is not finite")
    _expect(abs(np.linalg.det(affine[:3, :3])) > 0, "the affine spans no space")
    shape = tuple(image.shape[1:])
    _expect(geometry.display_shape == shape, f"meta says {geometry.display_shape}, the image is {shape}")
    _expect(sorted(geometry.volume_shape) == sorted((*shape, 1)[:3]), f"file {geometry.shape} is shown as {shape}")
    spacing = image.meta["spacing"]
    if spacing is not None:
        _expect(all(np.isfinite(s) and s > 0 for s in spacing), f"the spacing is {spacing}")
    label = np.zeros(shape, np.uint8)
    label[(slice(1, 4), slice(2, 7), slice(0, 1))[: len(shape)]] = 1  # in no way symmetric
    check_mask(label, geometry, affine, path.parent)


def judge(path: Path) -> tuple[str, str]:
    """Outcome of one file and a line about it."""
    try:
        check_image(path)
    except InputError as error:
        line = str(error)
        helps = "\n" not in line and path.name in line
        return ("refused" if helps else "wrong"), line
    except WrongError as error:
        return "wrong", str(error)
    except NoisyError as error:
        return "noise", str(error)
    except MemoryError as error:
        return "memory", repr(error)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}, line {frame.lineno}, {frame.name}"
        return "traceback", f"{type(error).__name__}: {' '.join(str(error).split())[:200]} ({where})"
    return "image", ""
