"""From a file to an upright float32 image: ``read_image``; and ``read_geometry`` for where it lies alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.formats.stored import StoredGrid, StoredImage
from medclipsam_monai.io.formats.table import FORMATS
from medclipsam_monai.io.geometry import SMALLEST_SIDE, Geometry, make_geometry, to_display
from medclipsam_monai.io.inputs.discovery import find_inputs
from medclipsam_monai.io.inputs.sources import ImageSource


def _one_source(source: ImageSource | str | Path) -> ImageSource:
    """The image that a path means.

    Raises:
        InputError: none or several, or an empty file.
    """
    if not isinstance(source, ImageSource):
        found = find_inputs([source])
        if len(found) > 1:
            raise InputError(f"{source}: holds {len(found)} images; give one of them")
        source = found[0]
    empty = [path for path in source.paths if path.is_file() and path.stat().st_size == 0]
    if empty:
        raise InputError(f"{empty[0]}: is empty (0 bytes)")
    return source


def _check_sides(shape: tuple[int, ...], label: str) -> None:
    if min(shape[:2]) < SMALLEST_SIDE:
        wide = sum(side >= SMALLEST_SIDE for side in shape)
        hint = "; try another slice axis" if wide >= 2 else ""
        raise InputError(
            f"{label}: is {shape[0]} x {shape[1]} pixels (rows x columns); "
            f"each side must have at least {SMALLEST_SIDE}{hint}"
        )


def _range(array: np.ndarray) -> tuple[float, float]:
    """The least and the greatest finite number, a slab at a time; 0 and 0 where there is none."""
    ends = []
    for slab in np.moveaxis(array, -2, 0):
        finite = slab[np.isfinite(slab)] if array.dtype.kind == "f" else slab
        if finite.size:
            ends.append((float(finite.min()), float(finite.max())))
    return min((low for low, _ in ends), default=0.0), max((high for _, high in ends), default=0.0)


def _check_precision(array: np.ndarray, label: str) -> None:
    """Refuse numbers that would overflow as float32, or become so equal that a display could not tell 256 greys."""
    if array.dtype.itemsize < 4 or array.dtype == np.float32:
        return
    low, high = _range(array)
    largest = max(abs(low), abs(high))
    if largest > float(np.finfo(np.float32).max) or 0 < high / 2 - low / 2 < 128 * float(
        np.spacing(np.float32(largest))
    ):
        raise InputError(
            f"{label}: holds numbers from {low:.9g} to {high:.9g}, which single precision cannot tell apart; "
            "rescale them, for example to 0..65535"
        )


def _spacing(stored: StoredGrid | StoredImage, geometry: Geometry) -> tuple[float, ...] | None:
    """Millimetres of the upright image's rows, columns and slices; None where unknown."""
    if stored.spatial:
        return geometry.display_spacing
    if stored.spacing is not None and stored.orientation is not None and stored.orientation[0][0] == 1:
        return stored.spacing[::-1]  # turned, rows are columns
    return stored.spacing


def _meta(stored: StoredImage, geometry: Geometry, name: str) -> dict[str, Any]:
    known = {key: stored.meta.get(key) for key in ("window_center", "window_width", "photometric", "modality")}
    voi = stored.meta.get("voi")
    if voi is not None:
        axis, flip = geometry.orientation[2]  # windows lie along the file's third axis
        voi = json.dumps({**voi, "axis": axis, **({"windows": voi["windows"][::flip]} if "windows" in voi else {})})
    return {
        "filename": name,
        "spatial": stored.spatial,
        "spacing": _spacing(stored, geometry),
        "original_channels": stored.array.shape[-1],
        "uint8": bool(stored.meta.get("uint8", False)),
        "geometry": geometry,
        "voi": voi,
        "plane": geometry.plane if stored.spatial else None,
        **known,
    }


def show_upright(stored: StoredImage, slice_axis: str, label: str, name: str) -> MetaTensor:
    """Turns a stored image upright; what `read_image` gives, without what only a file has.

    Args:
        stored: the image, from a file or from memory.
        slice_axis: see `read_image`.
        label: what to call it in messages.
        name: its base name, for ``meta["filename"]``.

    Raises:
        InputError: too small, no finite number, numbers beyond single precision, a singular affine.
        ValueError: an unknown slice axis.
    """
    geometry = make_geometry(stored, slice_axis, label)
    _check_precision(stored.array, label)
    _check_sides(geometry.display_shape, label)
    image = to_display(stored.array, geometry, np.float32)
    if not any(np.isfinite(row).any() for channel in image for row in channel):
        raise InputError(f"{label}: holds no finite number, only NaN or infinity")
    affine = torch.from_numpy(geometry.display_affine.copy())
    return MetaTensor(torch.from_numpy(image), affine=affine, meta=_meta(stored, geometry, name))


def read_image(source: ImageSource | str | Path, slice_axis: str = "acquired") -> MetaTensor:
    """Reads an image upright, as a person looks at it.

    Args:
        source: one of ``find_inputs``, or a path: a file, or a folder that holds one DICOM series or one image.
        slice_axis: how volumes are cut into pictures: "acquired" (in the plane they were acquired in, see
            `acquired_axis`), "axial", "coronal" or "sagittal". An image of one slice is shown in its own plane.

    Returns:
        (C, H, W), or (C, H, W, D) for volumes, float32 in the file's own numbers (rescaled, NaN kept), C = 1 or 3.
        ``affine`` maps (row, column, slice) to RAS millimetres, identity for pictures. ``meta`` has ``filename`` (base
        name), ``spatial``, ``spacing`` (mm of rows, columns, slices; None where unknown), ``plane`` (of the pictures:
        "axial", "coronal" or "sagittal"; None where unknown), ``original_channels``, ``uint8`` (0..255 display values),
        ``photometric``, ``modality``, ``window_center``, ``window_width``, ``voi`` (how DICOM shows it, see
        `medclipsam_monai.transforms.voi`), ``source`` (the ``ImageSource``, with all files and the stem), ``sha256``
        (`hash_files` of those files, from the same opening) and ``geometry``, which ``restore_geometry`` and the
        writers need.

    Raises:
        InputError: anything about the file; one line with its name.
        ValueError: an unknown slice axis.
    """
    source = _one_source(source)
    stored = FORMATS[source.kind].code.read(source.paths, source.label)
    image = show_upright(stored, slice_axis, source.label, source.name)
    image.meta.update({"filename_or_obj": str(source.paths[0]), "source": source, "sha256": stored.sha256})
    return image


def read_geometry(
    source: ImageSource | str | Path, slice_axis: str = "acquired"
) -> tuple[Geometry, tuple[float, ...] | None]:
    """Reads where an image lies, from its headers: no voxel is decoded.

    But for series in which two files state one place, whose pixels tell whether they are copies of one slice.

    Args:
        source: see `read_image`.
        slice_axis: see `read_image`.

    Returns:
        What `read_image` has as ``meta["geometry"]`` and ``meta["spacing"]``.

    Raises:
        InputError: what `read_image` raises for headers.
        ValueError: an unknown slice axis.
    """
    source = _one_source(source)
    stored = FORMATS[source.kind].code.read_grid(source.paths, source.label)
    geometry = make_geometry(stored, slice_axis, source.label)
    _check_sides(geometry.display_shape, source.label)
    return geometry, _spacing(stored, geometry)
