"""Phantom volumes as files: NIfTI with a label map, or a DICOM series on the same places in space."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np

from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.base.json_files import write_json
from medclipsam_monai.phantoms.dicom import PhantomSeries, SliceGrid, write_slice
from medclipsam_monai.phantoms.volumes.volume import VOLUME_TARGETS, PhantomVolume

CT_WINDOW = (24.0, 700.0)
"""Centre and width in HU in which the CT has the greys of the phantom pictures."""

_LPS = np.array([-1.0, -1.0, 1.0])


def save_phantom_volume(volume: PhantomVolume, folder: str | Path) -> tuple[Path, Path, Path]:
    """Write ``image.nii.gz``, ``labels.nii.gz`` (uint8) and ``labels.json``, which says what each label is.

    A target has the same label in every volume of its task, see `VOLUME_TARGETS`.

    Args:
        volume: to write.
        folder: where to.

    Returns:
        The three paths.

    Raises:
        InputError: the folder cannot be written.
    """
    labels = {name: number for number, name in enumerate(VOLUME_TARGETS[volume.task], start=1)}
    label_map = np.zeros(volume.image.shape, np.uint8, order="F")
    for name, mask in volume.masks.items():
        label_map[mask] = labels[name]
    folder = Path(folder)
    image = write_atomically(folder / "image.nii.gz", _nifti(volume.image, volume.affine))
    mapped = write_atomically(folder / "labels.nii.gz", _nifti(label_map, volume.affine))
    present = {name: number for name, number in labels.items() if name in volume.masks}
    record = {"task": volume.task, "seed": volume.seed, "labels": present}
    return image, mapped, write_json(record, folder / "labels.json")


def _nifti(array: np.ndarray, affine: np.ndarray) -> Callable[[Path], object]:
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    return lambda path: nib.save(image, path)


def write_phantom_volume_series(volume: PhantomVolume, folder: str | Path) -> PhantomSeries:
    """Write a volume as a DICOM series: CT or MR, slices from the foot to the head.

    Args:
        volume: to write; a CT's values must be -1024 to 3071 HU.
        folder: where to; the names of the files say nothing of the order.

    Returns:
        The files, and the masks as the slices are looked at.

    Raises:
        InputError: the folder cannot be written.
    """
    modality = "CT" if np.issubdtype(volume.image.dtype, np.integer) else "MR"
    steps = volume.affine[:3, :3]
    x, y, z = (float(f"{length:.10g}") for length in np.linalg.norm(steps, axis=0))
    row, column = (-_LPS * steps[:, axis] / np.linalg.norm(steps[:, axis]) for axis in (0, 1))
    directions = tuple(float(f"{value:.10f}") for value in (*row, *column))
    grid = SliceGrid(directions, (y, x, z), CT_WINDOW)
    columns, rows, slices = volume.image.shape
    key = f"{volume.task} {volume.seed} {volume.image.shape} {volume.affine.tolist()} {sorted(volume.masks)}"
    files = []
    for k in range(slices):
        corner = volume.affine @ (columns - 1, rows - 1, k, 1)
        picture = volume.image[::-1, ::-1, k].T
        files.append(write_slice(folder, modality, key, volume.seed, k + 1, picture, _LPS * corner[:3], grid))
    masks = {name: mask[::-1, ::-1].transpose(2, 1, 0) for name, mask in volume.masks.items()}
    return PhantomSeries(tuple(files), masks)
