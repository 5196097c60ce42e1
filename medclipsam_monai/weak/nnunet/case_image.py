"""An image just as nnU-Net is fed it: decided here once, for training and for inference alike.

2-D images become upright 8-bit pictures, grey or RGB, by the same display range that the zero-shot stage uses. Volumes
keep their own numbers and are turned upright, so that files stored in different orders look the same to the network;
predictions are put back on the file's own array by the image's `Geometry`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import MetaTensor
from PIL import Image

from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.base.windows import WindowLike
from medclipsam_monai.io import Geometry, ImageSource, read_image
from medclipsam_monai.transforms import DisplayRange

PICTURE_SPACING = (999.0, 1.0, 1.0)
"""What nnU-Net's own reader of PNG files says of every picture."""
_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's conversion to grey
_SHEAR = 1e-4  # of direction cosines; ITK reads no volume whose axes are not at right angles


@dataclass(frozen=True)
class CaseImage:
    """An image for nnU-Net.

    Attributes:
        array: upright; (C, H, W) uint8, or a volume (C, H, W, D) int16 or float32; C = 1 (grey) or 3 (RGB).
        geometry: puts upright masks and maps back on the file's own array.
        source: where the image came from, with the stem for the names of its outputs.
        modality: DICOM's, such as "CT"; None where the file does not say.
    """

    array: np.ndarray
    geometry: Geometry
    source: ImageSource
    modality: str | None = None

    @property
    def is_volume(self) -> bool:
        """Whether there is a slice axis."""
        return self.array.ndim == 4

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return len(self.array)

    @property
    def suffix(self) -> str:
        """Of the files nnU-Net reads: ".png" or ".nii.gz"."""
        return ".nii.gz" if self.is_volume else ".png"

    @property
    def spacing(self) -> tuple[float, ...]:
        """Of nnU-Net's axes (slices, rows, columns), in mm for volumes."""
        known = self.geometry.display_spacing
        return (known[2], known[0], known[1]) if self.is_volume and known is not None else PICTURE_SPACING

    def with_channels(self, channels: int) -> CaseImage:
        """The same image as grey (1, by luminance) or RGB (3).

        Raises:
            ValueError: for another number.
        """
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {channels}")
        if channels == self.channels:
            return self
        if channels == 3:
            return replace(self, array=np.repeat(self.array, 3, axis=0))
        grey = np.tensordot(_LUMINANCE, self.array.astype(np.float32), axes=1)[None]
        whole = np.issubdtype(self.array.dtype, np.integer)
        return replace(self, array=(np.rint(grey) if whole else grey).astype(self.array.dtype))

    def for_nnunet(self) -> tuple[np.ndarray, dict[str, Any]]:
        """What nnU-Net's reader gives for the files that `write` makes.

        Returns:
            The image (C, 1, H, W) or (C, D, H, W) float32, and the properties with its spacing.
        """
        array = self.array if self.is_volume else self.array[..., None]
        return np.ascontiguousarray(np.moveaxis(array, -1, 1), dtype=np.float32), {"spacing": list(self.spacing)}

    def upright(self, array: np.ndarray) -> np.ndarray:
        """nnU-Net's (..., 1, H, W) or (..., D, H, W) as (..., H, W) or (..., H, W, D), for the package's writers."""
        moved = np.moveaxis(array, -3, -1)
        return np.ascontiguousarray(moved if self.is_volume else moved[..., 0])

    def write(self, folder: Path, case: str) -> list[Path]:
        """Write ``CASE_0000.png``, or a volume as ``CASE_0000.nii.gz`` with one file a channel.

        Raises:
            InputError: if a file cannot be written.
        """
        if not self.is_volume:
            return [_write_picture(np.moveaxis(self.array, 0, -1), folder / f"{case}_0000.png")]
        files = [folder / f"{case}_{channel:04d}.nii.gz" for channel in range(self.channels)]
        return [self._write_volume(values, file) for values, file in zip(self.array, files, strict=True)]

    def write_labels(self, labels: np.ndarray, folder: Path, case: str) -> Path:
        """Write an upright label map (H, W[, D]) on the same grid, as ``CASE.png`` or ``CASE.nii.gz``, uint8.

        Raises:
            InputError: if the file cannot be written.
        """
        values, path = labels.astype(np.uint8), folder / f"{case}{self.suffix}"
        return self._write_volume(values, path) if self.is_volume else _write_picture(values[..., None], path)

    def _write_volume(self, values: np.ndarray, path: Path) -> Path:
        """Columns, rows, slices in the file, so that ITK reads slices, rows, columns."""
        affine = self.geometry.display_affine[:, [1, 0, 2, 3]]
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        columns = affine[:3, :3] / lengths
        if np.abs(columns.T @ columns - np.eye(3)).max() > _SHEAR:
            affine = np.diag([*lengths, 1.0])  # only the spacing matters to nnU-Net
        image = nib.Nifti1Image(values.transpose(1, 0, 2), affine)
        image.header.set_xyzt_units("mm")
        return write_atomically(path, lambda part: nib.save(image, part))


def _write_picture(pixels: np.ndarray, path: Path) -> Path:
    """Write (H, W, 1 or 3) uint8 as PNG."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else np.ascontiguousarray(pixels))
    return write_atomically(path, lambda part: picture.save(part, format="PNG"))


def read_case_image(
    path: str | Path | ImageSource,
    window: WindowLike | None = None,
    slice_axis: str = "acquired",
    channels: int | None = None,
) -> CaseImage:
    """Read an image of any kind the package reads as nnU-Net is to see it.

    Args:
        path: a file, a DICOM series' folder, or one of `find_inputs`.
        window: how the intensities of 2-D images become grey levels, see `DisplayRange`; volumes keep their numbers.
        slice_axis: which way volumes are cut: "acquired", "axial", "coronal" or "sagittal".
        channels: 1 or 3, as the data set that a network was trained on has; None for what the image truly is: a colour
            file whose channels are equal is grey.

    Raises:
        InputError: for anything about the file.
    """
    case = to_case_image(read_image(path, slice_axis), window)
    return case if channels is None else case.with_channels(channels)


def to_case_image(image: MetaTensor, window: WindowLike | None = None) -> CaseImage:
    """An image of `read_image` as nnU-Net is to see it; the window as in `read_case_image`."""
    return CaseImage(case_array(image, window), image.meta["geometry"], image.meta["source"], image.meta["modality"])


def case_array(image: MetaTensor, window: WindowLike | None = None) -> np.ndarray:
    """The numbers of an image of `read_image` or `read_memory` as nnU-Net is to see them, see `CaseImage.array`."""
    if image.ndim == 4:
        array = _volume_numbers(image.numpy())
    else:
        array = np.rint(np.asarray(DisplayRange(window)(image)) * 255).astype(np.uint8)
    return array[:1] if len(array) > 1 and (array == array[:1]).all() else array


def _volume_numbers(values: np.ndarray) -> np.ndarray:
    """Finite numbers, as int16 where nothing is lost; what was not a number becomes the least, as in `DisplayRange`."""
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    whole = low >= -32768 and high <= 32767 and bool((values == np.rint(values)).all())
    return values.astype(np.int16 if whole else np.float32)
