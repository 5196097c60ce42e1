"""Label maps from mask files of any kind: 0/1, 0/255, palette or grey pictures, NIfTI, NRRD."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import Geometry, acquired_slices, read_image
from medclipsam_monai.io.formats.pictures import open_picture
from medclipsam_monai.io.formats.table import FORMATS, PICTURE
from medclipsam_monai.io.formats.tiff import is_tiff
from medclipsam_monai.io.geometry import to_display
from medclipsam_monai.io.guard import reading
from medclipsam_monai.io.inputs.stems import file_stem

_BRIGHT = 128  # from here on values are grey levels, not numbers of lesions
MASK_ENDINGS = ("_mask", "_label", "_seg", "_segmentation", ".seg", "_mask.seg")
"""What a mask may be called after its image's stem, where both lie in one folder."""


def read_label_map(path: Path, geometry: Geometry, names: Sequence[str]) -> np.ndarray:
    """Read a mask as an upright label map on its image's grid.

    Args:
        path: the mask. With one class what is not 0 is foreground; where values reach 128, as in 0/255 masks that may
            have been resized or saved as JPEG, what is above half of the greatest. With several classes it holds their
            numbers.
        geometry: of the image; the mask is cut in the same plane.
        names: the classes; class ``names[i]`` has label i + 1.

    Returns:
        (H, W[, D]) uint8, or uint16 of more than 255 classes.

    Raises:
        InputError: unreadable, of another shape than its image, or with values that are no class.
    """
    is_picture = path.suffix.lower() in FORMATS[PICTURE].suffixes
    values = _picture_mask(path, geometry) if is_picture else _volume_mask(path, geometry)
    if values.shape != geometry.display_shape:
        _refuse_shape(values.shape, path, geometry)
    return _to_labels(values, names, path)


def _picture_mask(path: Path, geometry: Geometry) -> np.ndarray:
    """A mask picture as its image is shown: masks lie on the stored pixels of images that EXIF turns."""
    values = _picture_values(path, geometry)
    if geometry.kind == PICTURE and values.shape == geometry.shape:
        return to_display(values[..., None], geometry)[0]
    return values


def _volume_mask(path: Path, geometry: Geometry) -> np.ndarray:
    """A mask volume as its image is shown, with the image's own slices where they are not evenly apart."""
    return acquired_slices(read_image(path, geometry.plane or "acquired")[0].numpy(), geometry)


def _picture_values(path: Path, geometry: Geometry) -> np.ndarray:
    """(H, W), the stored numbers: of a palette picture its indices, of grey saved as RGB one channel."""
    with reading(path, "a mask"), path.open("rb") as file:
        picture = TiffImageFile(file, str(path)) if is_tiff(file) else open_picture(file, path)
        _check_shape((picture.height, picture.width), path, geometry)  # before memory is taken for it
        values = np.asarray(picture.convert("RGB") if "A" in picture.getbands() else picture)
    if values.ndim == 2:
        return values.astype(np.float32)
    if (values != values[..., :1]).any():
        raise InputError(f"{path}: is a colour picture; a mask holds one number a pixel, 0 for background")
    return values[..., 0].astype(np.float32)


def _check_shape(shape: tuple[int, ...], path: Path, geometry: Geometry) -> None:
    """Refuse a picture that lies neither on the stored pixels of its image nor on the shown ones."""
    if shape not in (geometry.shape, geometry.display_shape):
        _refuse_shape(shape, path, geometry)


def _refuse_shape(shape: tuple[int, ...], path: Path, geometry: Geometry) -> NoReturn:
    raise InputError(
        f"{path}: is a mask of {_size(shape)} for an image of {_size(geometry.display_shape)} (rows x "
        "columns); a mask must lie on its image pixel for pixel"
    )


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _to_labels(values: np.ndarray, names: Sequence[str], path: Path) -> np.ndarray:
    if len(names) == 1 and values.min() >= 0:
        threshold = values.max() / 2 if values.max() >= _BRIGHT else 0
        return (values > threshold).astype(np.uint8)
    wrong = values[~np.isin(values, np.arange(len(names) + 1))]
    if wrong.size:
        expected = ", ".join(f"{number} {name}" for number, name in enumerate(names, start=1))
        raise InputError(f"{path}: holds the value {wrong.flat[0]:g}; a mask holds 0 for background, {expected}")
    return values.astype(np.uint8 if len(names) <= 255 else np.uint16)


def find_given(
    folder: str | Path, stems: Collection[str], endings: Sequence[str] = ("", *MASK_ENDINGS)
) -> dict[str, Path]:
    """The masks in a folder that belong to images, by name: ``STEM.png``, ``STEM_mask.nii.gz``, ``STEM_label.png`` ...

    Args:
        folder: holds masks; what belongs to no image is left out.
        stems: the images' stems.
        endings: what may follow the stem; without "" a folder may hold the images, too.

    Returns:
        The mask's path by stem.

    Raises:
        InputError: no such folder, no mask for any of the images, or two for one.
    """
    base = Path(folder).expanduser()
    if not base.is_dir():
        raise InputError(f"{base}: is no folder of masks")
    wanted = {f"{stem}{ending}": stem for ending in reversed(endings) for stem in stems}
    found: dict[str, Path] = {}
    for path in sorted(base.iterdir()):
        stem = wanted.get(file_stem(path))
        if stem is None:
            continue
        if stem in found:
            raise InputError(f"{base}: holds two masks of {stem}: {found[stem].name} and {path.name}; keep one")
        found[stem] = path
    if not found:
        example = min(stems, default="STEM")
        names = ", ".join(f"{example}{ending}.png" for ending in endings[:2] if ending in ("", "_mask"))
        raise InputError(f"{base}: holds no mask of any image; expected names such as {names}")
    return found
