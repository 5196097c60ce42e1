"""Reads DICOM images: one file, or the slices of a series, which become a volume by their positions and directions.

What has no position (X-ray, ultrasound) is a picture on its own pixel grid. The image's numbers are modality values
(HU for CT); windows and VOI LUTs only say how to show them.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.io.dicom.display import display_meta
from medclipsam_monai.io.dicom.geometry import POSITION_TOLERANCE, Slice, place_slices
from medclipsam_monai.io.dicom.header import (
    check_promise,
    check_whole,
    frame_count,
    is_image,
    kind_of_object,
    read_header,
)
from medclipsam_monai.io.dicom.pixels import read_pixels
from medclipsam_monai.io.formats.volumes import LPS_TO_RAS
from medclipsam_monai.io.geometry import StoredImage
from medclipsam_monai.io.limits import check_size


def read_dicom(paths: Sequence[Path], name: str) -> StoredImage:
    """Reads one DICOM file, or the files of one series in any order.

    Args:
        paths: the files.
        name: what to call them in messages.

    Returns:
        A volume or slice (columns, rows, slices, C) with its affine, or a picture (rows, columns, C) where the header
        states no position. A grey multi-frame image without positions is a volume whose ``spatial`` is False.

    Raises:
        InputError: not an image, damaged, too large, several series, mixed sizes, missing or repeated positions, a
            colour cine.
    """
    headers = [_image_header(path) for path in paths]
    if len(paths) > 1:
        check_size((len(paths), int(headers[0].Rows), int(headers[0].Columns)), name)
        _check_series(paths, headers, name)
        kept = _one_of_each(paths, headers, name)
        paths, headers = [paths[index] for index in kept], [headers[index] for index in kept]
    frames = frame_count(headers[0])
    if frames > 1 and int(headers[0].get("SamplesPerPixel") or 1) > 1:
        raise InputError(f"{name}: is a colour sequence of {frames} frames; save the frame to segment as a PNG picture")
    slices = [Slice(header, frame) for header in headers for frame in range(frames)]
    placement = place_slices(slices, name)
    if placement.affine is None and len(paths) > 1:
        raise InputError(f"{name}: its slices state no ImagePositionPatient; give the files one at a time")
    if len(paths) > 1:
        parts = [read_pixels(paths[index]) for index in placement.order]
        pixels, eight_bit = np.concatenate([part for part, _ in parts]), all(flag for _, flag in parts)
    else:
        pixels, eight_bit = read_pixels(paths[0])
        pixels = pixels[placement.order]
    colour = pixels.shape[-1] == 3
    bits = int(headers[0].get("BitsStored") or 8)
    if headers[0].get("PhotometricInterpretation") == "PALETTE COLOR":
        bits = pixels.dtype.itemsize * 8
    eight_bit = eight_bit and bits == 8
    shown = display_meta(
        [slices[index] for index in placement.order], colour, 2.0**bits - 1 if colour and not eight_bit else None
    )
    meta = {"uint8": eight_bit, **shown}
    if placement.affine is None and frames == 1:
        spacing = slices[0].spacing
        known = None if spacing is None else tuple(map(float, spacing))
        return StoredImage(pixels[0], "picture", meta=meta, spacing=known, spatial=False)
    volume = pixels.transpose(2, 1, 0, 3)
    if placement.affine is None:  # frames over time: shown as stored, and no millimetre is claimed
        warnings.warn(
            f"{name}: its {frames} frames state no positions; its mask counts pixels and frames, not millimetres",
            InputWarning,
            stacklevel=2,
        )
        return StoredImage(volume, "dicom", affine=LPS_TO_RAS.copy(), meta=meta, spatial=False)
    return StoredImage(volume, "dicom", placement.affine, meta=meta, slice_positions=placement.positions)


def _image_header(path: Path) -> Dataset:
    header = read_header(path)
    check_whole(path, header)
    if not is_image(header):
        raise InputError(f"{path}: is a DICOM {kind_of_object(header)}, not an image to segment")
    check_promise(path, header)
    return header


def _check_series(paths: Sequence[Path], headers: Sequence[Dataset], name: str) -> None:
    for path, header in zip(paths, headers, strict=True):
        if frame_count(header) > 1:
            raise InputError(f"{path}: is not one slice of a series; give it by itself")
    series = {str(header.get("SeriesInstanceUID", "")) for header in headers}
    if len(series) > 1:
        raise InputError(f"{name}: holds {len(series)} series; give them one at a time")
    sizes = sorted({(int(header.Rows), int(header.Columns)) for header in headers})
    if len(sizes) > 1:
        listed = ", ".join(f"{rows} x {columns}" for rows, columns in sizes)
        raise InputError(f"{name}: its slices differ in size ({listed}); a series must have one size")


def without_copies(paths: Sequence[Path], name: str) -> tuple[Path, ...]:
    """The files of one series, each slice once: of copies the first.

    A copy has the position of another file and the same pixels, whatever their SOPInstanceUIDs say.

    Raises:
        InputError: a file cannot be read.
    """
    if len(paths) < 2:
        return tuple(paths)
    return tuple(paths[index] for index in _one_of_each(paths, [read_header(path) for path in paths], name))


def _one_of_each(paths: Sequence[Path], headers: Sequence[Dataset], name: str) -> list[int]:
    positions = [Slice(header, 0).position for header in headers]
    kept: list[int] = []
    copies: list[str] = []
    at: dict[tuple[int, ...], list[int]] = {}
    for index, position in enumerate(positions):
        if position is None:
            kept.append(index)
            continue
        near = at.setdefault(tuple(int(place) for place in np.rint(position / POSITION_TOLERANCE)), [])
        if any(_is_copy(paths, headers, index, other) for other in near):
            copies.append(paths[index].name)
        else:
            near.append(index)
            kept.append(index)
    if copies:
        more = f" and {len(copies) - 3} more" if len(copies) > 3 else ""
        warnings.warn(
            f"{name}: {len(copies)} of {len(paths)} files are copies of another slice and left out: "
            f"{', '.join(copies[:3])}{more}",
            InputWarning,
            stacklevel=2,
        )
    return kept


def _is_copy(paths: Sequence[Path], headers: Sequence[Dataset], one: int, other: int) -> bool:
    first, second = headers[one], headers[other]
    if any(first.get(key) != second.get(key) for key in ("Rows", "Columns", "PhotometricInterpretation")):
        return False
    if not _nearly(Slice(first, 0).spacing, Slice(second, 0).spacing):
        return False
    if not _nearly(Slice(first, 0).directions, Slice(second, 0).directions):
        return False
    return bool(np.array_equal(read_pixels(paths[one])[0], read_pixels(paths[other])[0]))


def _nearly(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether two headers state the same but for rounding."""
    if one is None or other is None:
        return one is other
    return bool(np.allclose(one, other, rtol=0, atol=POSITION_TOLERANCE))
