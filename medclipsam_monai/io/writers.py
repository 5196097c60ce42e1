"""Writes masks, maps, pictures and records: each file appears whole or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from PIL import Image

from medclipsam_monai.files import write_atomically, write_text
from medclipsam_monai.io.geometry import Geometry, restore_geometry
from medclipsam_monai.io.guard import reason

Colour = tuple[int, int, int]
_SURROGATE = re.compile("[\ud800-\udfff]")
# Okabe and Ito's colours, told apart by colour-blind readers; repeated from the ninth class on.
PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (255, 255, 255),
)


def _with_suffix(path: str | Path, suffix: str) -> Path:
    return Path(f"{path}{suffix}")


def _write_nifti(array: np.ndarray, geometry: Geometry, part: Path) -> None:
    """Writes with the input's own header, or for DICOM with scanner coordinates in both forms."""
    if geometry.kind == "nifti":
        header = geometry.header.copy()
        header.extensions.clear()
        for name in ("descrip", "aux_file", "db_name", "intent_name"):  # free text may name a patient
            if name in header:
                header[name] = b""
        header["cal_max"] = header["cal_min"] = 0
        header.set_intent("none")
        header.set_slope_inter(1, 0)
        header.set_data_dtype(array.dtype)
        image_class = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
        nib.save(image_class(array, header.get_best_affine(), header), part)
        return
    affine = geometry.affine if geometry.affine is not None else np.eye(4)
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    columns = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(columns.T @ columns - np.eye(3)).max() < 1e-4:  # a qform cannot hold the shear of a tilted gantry
        image.set_qform(affine, code="scanner")
    nib.save(image, part)


def _write_itk(array: np.ndarray, geometry: Geometry, part: Path) -> None:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing(geometry.header["spacing"])
    image.SetOrigin(geometry.header["origin"])
    image.SetDirection(geometry.header["direction"])
    try:
        sitk.WriteImage(image, str(part), useCompression=True, compressionLevel=6)
        if not np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(part))), array.T):
            raise RuntimeError("not all of it could be written")  # on a full disk ITK says nothing
    except RuntimeError as error:
        raise OSError(f"ITK: {reason(error)}") from error


def _write_spatial(array: np.ndarray, geometry: Geometry, path: Path) -> Path:
    write = _write_itk if geometry.kind == "itk" else _write_nifti
    return write_atomically(path, lambda part: write(array, geometry, part))


def _palette_bytes(palette: Sequence[Colour]) -> list[int]:
    colours = [(0, 0, 0), *(palette[label % len(palette)] for label in range(255))]
    return [value for colour in colours for value in colour]


def write_mask(
    label_map: np.ndarray | torch.Tensor,
    geometry: Geometry,
    path_without_suffix: str | Path,
    palette: Sequence[Colour] = PALETTE,
) -> Path:
    """Writes an upright label map on the grid of the image it was made from.

    Pictures get a palette PNG: its pixel values are the labels, a viewer shows the colours. NIfTI gets NIfTI with the
    input's header, NRRD, MHA and MHD get NRRD, DICOM with positions gets NIfTI, DICOM without gets PNG.

    Args:
        label_map: (H, W[, D]) or (1, H, W[, D]), 0 background, 1..K the classes.
        geometry: the image's ``meta["geometry"]``.
        path_without_suffix: where to write; the suffix is added.
        palette: colours (red, green, blue) of classes 1, 2, ... of a picture, 0..255.

    Returns:
        The path written.

    Raises:
        ValueError: labels outside 0..65535, or a shape that is not the image's.
        InputError: the file cannot be written.
    """
    labels = restore_geometry(label_map, geometry)
    if labels.shape != geometry.shape:
        raise ValueError(f"label_map must be one map like its image, got {len(labels)} channels")
    if labels.min() < 0 or labels.max() > 65535:
        raise ValueError(f"labels must lie in 0..65535, got {labels.min()}..{labels.max()}")
    labels = labels.astype(np.uint8 if labels.max() <= 255 else np.uint16)
    path = _with_suffix(path_without_suffix, geometry.suffix)
    if geometry.kind != "picture":
        return _write_spatial(labels, geometry, path)
    picture = Image.fromarray(labels)
    if labels.dtype == np.uint8:
        picture.putpalette(_palette_bytes(palette))
    return write_atomically(path, lambda part: picture.save(part, format="PNG"))


def write_float_map(values: np.ndarray | torch.Tensor, geometry: Geometry, path_without_suffix: str | Path) -> Path:
    """Writes an upright saliency or probability map on the grid of its image.

    Args:
        values: (H, W[, D]) or (1, H, W[, D]), in [0, 1].
        geometry: the image's ``meta["geometry"]``.
        path_without_suffix: where to write; the suffix is added.

    Returns:
        The path written: float32 NIfTI or NRRD, or for pictures a 16-bit grey PNG of 65535 times the value.

    Raises:
        ValueError: values outside [0, 1], or a shape that is not the image's.
        InputError: the file cannot be written.
    """
    array = restore_geometry(values, geometry).astype(np.float32)
    if array.shape != geometry.shape:
        raise ValueError(f"values must be one map like its image, got {len(array)} channels")
    if not (array.min() >= 0 and array.max() <= 1):
        raise ValueError(f"values must lie in [0, 1], got {array.min()}..{array.max()}")
    path = _with_suffix(path_without_suffix, geometry.suffix)
    if geometry.kind != "picture":
        return _write_spatial(array, geometry, path)
    picture = Image.fromarray(np.round(array * 65535).astype(np.uint16))
    return write_atomically(path, lambda part: picture.save(part, format="PNG"))


def write_picture(picture: np.ndarray, path: str | Path) -> Path:
    """Writes an (H, W, 3) uint8 picture, such as an overlay, as PNG or by its suffix.

    Raises:
        ValueError: another shape or type.
        InputError: the file cannot be written.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3:
        raise ValueError(f"picture must be (H, W, 3) uint8, got {picture.shape} {picture.dtype}")
    return write_atomically(Path(path), lambda part: Image.fromarray(picture).save(part))


def write_json(record: Mapping[str, Any], path: str | Path) -> Path:
    """Writes a record as JSON indented by 4; NaN and infinity are refused.

    Bytes of a file's name that are no UTF-8 (surrogates) are written as JSON's escapes.

    Raises:
        ValueError: a number that JSON cannot hold.
        InputError: the file cannot be written.
    """
    text = json.dumps(record, indent=4, ensure_ascii=False, allow_nan=False) + "\n"
    return write_text(Path(path), _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text))
