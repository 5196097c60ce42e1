"""Reads DICOM images: one file, or the slices of a series, which become a volume by their positions and directions.

What has no position (X-ray, ultrasound) is a picture on its own pixel grid. The image's numbers are modality values
(HU for CT); windows and VOI LUTs only say how to show them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.base.files import open_file_sha256
from medclipsam_monai.io.dicom.display import display_meta
from medclipsam_monai.io.dicom.geometry import POSITION_TOLERANCE, Slice, place_slices
from medclipsam_monai.io.dicom.header import (
    check_promise,
    check_whole,
    frame_count,
    is_image,
    kind_of_object,
    parse_header,
    read_header,
)
from medclipsam_monai.io.dicom.pixels import ModalityMap, decode_file, modality_map, read_pixels
from medclipsam_monai.io.dicom.stated import warn_of_unusable
from medclipsam_monai.io.formats.stored import StoredGrid, StoredImage
from medclipsam_monai.io.formats.table import DICOM, PICTURE
from medclipsam_monai.io.formats.volumes import LPS_TO_RAS
from medclipsam_monai.io.guard import one_line
from medclipsam_monai.io.limits import check_size
from medclipsam_monai.io.records import joined_hash


@dataclass(frozen=True)
class _Arranged:
    """The slices of an image.

    Attributes:
        headers: of the files that are used, a header a file.
        kept: places of these files among all.
        slices: of these files, frame by frame.
        order: of the slices along their normal.
        grid: where they lie.
    """

    headers: list[Dataset]
    kept: list[int]
    slices: list[Slice]
    order: np.ndarray
    grid: StoredGrid


def read_dicom(paths: Sequence[Path], name: str) -> StoredImage:
    """Reads one DICOM file, or the files of one series in any order; each is opened once.

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
    headers, stored, hashes = _open_files(paths, name)
    arranged = _arrange(
        paths, headers, name, lambda index: _modality_values(stored[index], headers[index], paths[index])
    )
    parts = [stored[index] for index in arranged.kept]
    stored.clear()
    files = [paths[index] for index in arranged.kept]
    maps = [_map_of(*one) for one in zip(parts, arranged.headers, files, strict=True)]
    eight_bit = all(part.dtype == np.uint8 and one is None for part, one in zip(parts, maps, strict=True))
    volume = _filled(parts, maps, arranged, name)
    first, colour = arranged.headers[0], volume.shape[-1] == 3
    warn_of_unusable(arranged.slices, colour, name)
    bits = int(first.get("BitsStored") or 8)
    if first.get("PhotometricInterpretation") == "PALETTE COLOR":
        bits = volume.dtype.itemsize * 8
    eight_bit = eight_bit and bits == 8
    shown = display_meta(
        [arranged.slices[index] for index in arranged.order],
        colour,
        2.0**bits - 1 if colour and not eight_bit else None,
    )
    array = volume[0] if len(arranged.grid.shape) == 2 else volume.transpose(2, 1, 0, 3)
    return arranged.grid.filled(array, {"uint8": eight_bit, **shown}, joined_hash(hashes))


def read_dicom_grid(paths: Sequence[Path], name: str) -> StoredGrid:
    """Where the voxels of `read_dicom` lie, from the headers; of files in one place the pixels are compared.

    Raises:
        InputError: what `read_dicom` raises for headers.
    """
    headers = [_read_image_header(path) for path in paths]
    return _arrange(paths, headers, name, lambda index: read_pixels(paths[index])[0]).grid


def _open_files(paths: Sequence[Path], name: str) -> tuple[list[Dataset], list[np.ndarray], list[str]]:
    """Headers without pixels, stored values and hashes; a series that is refused is not decoded further."""
    headers: list[Dataset] = []
    stored: list[np.ndarray] = []
    hashes: list[str] = []
    for path in paths:
        with one_line(path, "a DICOM file"), path.open("rb") as file:
            hashes.append(open_file_sha256(file))
            header = _check_image(parse_header(file, path), path)
            if len(paths) > 1 and not headers:
                check_size((len(paths), int(header.Rows), int(header.Columns)), name)
            headers.append(header)
            if _is_one_series(headers[0], header) or len(paths) == 1:
                pixels, headers[-1] = decode_file(file, path)
                stored.append(pixels)
    return headers, stored, hashes


def _is_one_series(first: Dataset, other: Dataset) -> bool:
    same = ("Rows", "Columns", "SeriesInstanceUID")
    return frame_count(other) == 1 and all(first.get(key) == other.get(key) for key in same)


def _arrange(
    paths: Sequence[Path], headers: list[Dataset], name: str, pixels_of: Callable[[int], np.ndarray]
) -> _Arranged:
    """Puts the slices of one file, or of a series, in their order.

    Args:
        paths: the files.
        headers: of the files.
        name: what to call them in messages.
        pixels_of: the pixels of the file of a number, asked for where two files may be copies.

    Raises:
        InputError: see `read_dicom`.
    """
    kept = [0]
    if len(paths) > 1:
        check_size((len(paths), int(headers[0].Rows), int(headers[0].Columns)), name)
        _check_series(paths, headers, name)
        kept = _one_of_each(paths, headers, name, pixels_of)
        headers = [headers[index] for index in kept]
    first, frames, series = headers[0], frame_count(headers[0]), len(headers) > 1
    if frames > 1 and int(first.get("SamplesPerPixel") or 1) > 1:
        raise InputError(f"{name}: is a colour sequence of {frames} frames; save the frame to segment as a PNG picture")
    slices = [Slice(header, frame) for header in headers for frame in range(frames)]
    placement = place_slices(slices, name)
    if placement.affine is None and series:
        raise InputError(f"{name}: its slices state no ImagePositionPatient; give the files one at a time")
    rows, columns = int(first.Rows), int(first.Columns)
    shape = (columns, rows, len(slices))
    if placement.affine is not None:
        grid = StoredGrid(DICOM, shape, placement.affine, slice_positions=placement.positions)
    elif frames == 1:
        spacing = slices[0].spacing
        known = None if spacing is None else tuple(map(float, spacing))
        grid = StoredGrid(PICTURE, (rows, columns), spacing=known, spatial=False)
    else:  # frames over time: shown as stored, and no millimetre is claimed
        warnings.warn(
            f"{name}: its {frames} frames state no positions; its mask counts pixels and frames, not millimetres",
            InputWarning,
            stacklevel=2,
        )
        grid = StoredGrid(DICOM, shape, LPS_TO_RAS.copy(), spatial=False)
    return _Arranged(headers, kept, slices, placement.order, grid)


def _map_of(stored: np.ndarray, header: Dataset, path: Path) -> ModalityMap | None:
    """What makes modality values of stored ones; colours stay as they are."""
    return modality_map(header, path) if stored.shape[-1] == 1 else None


def _modality_values(stored: np.ndarray, header: Dataset, path: Path) -> np.ndarray:
    to_modality = _map_of(stored, header, path)
    return stored if to_modality is None else to_modality(stored, 0)


def _filled(parts: list[np.ndarray], maps: Sequence[ModalityMap | None], arranged: _Arranged, name: str) -> np.ndarray:
    """Modality values (slices, rows, columns, C) in their order; ``parts`` is emptied, a file at a time."""
    if len(parts) == 1 and maps[0] is None and (arranged.order == np.arange(len(arranged.slices))).all():
        return parts.pop()
    kinds = [part.dtype if one is None else np.float32 for part, one in zip(parts, maps, strict=True)]
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) > 1:
        raise InputError(f"{name}: some of its slices are grey and some in colour; a series must be of one kind")
    volume = np.empty((len(arranged.slices), *shapes.pop()), np.result_type(*kinds))
    frames = len(arranged.slices) // len(parts)
    for place, index in enumerate(arranged.order):
        file, frame = divmod(int(index), frames)
        cells, to_modality = parts[file][frame], maps[file]
        volume[place] = cells if to_modality is None else to_modality(cells, frame)
        if frames == 1:
            parts[file] = np.empty(0)
    parts.clear()
    return volume


def _read_image_header(path: Path) -> Dataset:
    return _check_image(read_header(path), path)


def _check_image(header: Dataset, path: Path) -> Dataset:
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
    headers = [read_header(path) for path in paths]
    kept = _one_of_each(paths, headers, name, lambda index: read_pixels(paths[index])[0])
    return tuple(paths[index] for index in kept)


def _one_of_each(
    paths: Sequence[Path], headers: Sequence[Dataset], name: str, pixels_of: Callable[[int], np.ndarray]
) -> list[int]:
    positions = [Slice(header, 0).position for header in headers]
    kept: list[int] = []
    copies: list[str] = []
    at: dict[tuple[int, ...], list[int]] = {}
    for index, position in enumerate(positions):
        if position is None:
            kept.append(index)
            continue
        near = at.setdefault(tuple(int(place) for place in np.rint(position / POSITION_TOLERANCE)), [])
        if any(_is_copy(headers, index, other, pixels_of) for other in near):
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


def _is_copy(headers: Sequence[Dataset], one: int, other: int, pixels_of: Callable[[int], np.ndarray]) -> bool:
    first, second = headers[one], headers[other]
    if any(first.get(key) != second.get(key) for key in ("Rows", "Columns", "PhotometricInterpretation")):
        return False
    if not _nearly(Slice(first, 0).spacing, Slice(second, 0).spacing):
        return False
    if not _nearly(Slice(first, 0).directions, Slice(second, 0).directions):
        return False
    return bool(np.array_equal(pixels_of(one), pixels_of(other)))


def _nearly(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether two headers state the same but for rounding."""
    if one is None or other is None:
        return one is other
    return bool(np.allclose(one, other, rtol=0, atol=POSITION_TOLERANCE))
