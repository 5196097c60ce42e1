"""Reads DICOM: headers and their checks by pydicom, pixels by GDCM, which decodes compressed images and rescales them.

The slices of a series become a volume with the positions and directions of their headers. What has no position (X-ray,
ultrasound) is a picture on its own pixel grid. MONOCHROME1 is recorded, not inverted.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medclipsam_monai.errors import InputError
from medclipsam_monai.io.geometry import StoredImage
from medclipsam_monai.io.guard import InputWarning, reading
from medclipsam_monai.io.volumes import LPS_TO_RAS

_POSITION_TOLERANCE = 1e-3  # mm
_DIRECTION_TOLERANCE = 1e-3  # direction cosines
_PLAIN_SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
_UNEVEN = 0.05  # of the middle gap between slices


def read_header(path: Path, tags: Sequence[str] | None = None) -> Dataset:
    """Reads a file's header without its pixels.

    Raises:
        InputError: not DICOM, or damaged.
    """
    with reading(path, "a DICOM file"):
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(tags) if tags else None)


def is_image(header: Dataset) -> bool:
    """Whether the object holds an image to segment: it has rows, and is not itself a segmentation or a dose."""
    return "Rows" in header and str(header.get("Modality", "")) not in ("SEG", "RTDOSE")


def _group(header: Dataset, frame: int, sequence: str) -> Dataset | None:
    """A functional group of an enhanced multi-frame object: the frame's own, else the shared one."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    for holder in (*per_frame[frame : frame + 1], *shared[:1]):
        if holder.get(sequence):
            return holder[sequence][0]
    return None


def _value(header: Dataset, frame: int, sequence: str, name: str) -> Any:
    group = _group(header, frame, sequence)
    value = group.get(name) if group is not None else None
    return header.get(name) if value is None else value


def _numbers(value: Any, count: int) -> np.ndarray | None:
    """``count`` finite numbers of a header element, or None if they are not there."""
    try:
        numbers = np.array([float(number) for number in value])
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None


def _first_number(value: Any) -> float | None:
    """A number, or the first of several (windows come in lists)."""
    values = value if isinstance(value, (list, tuple, pydicom.multival.MultiValue)) else [value]
    try:
        return float(values[0])
    except (TypeError, ValueError, IndexError):
        return None


def _positions(headers: Sequence[Dataset], frames: int) -> list[np.ndarray | None]:
    slices = [(header, 0) for header in headers] if frames == 1 else [(headers[0], frame) for frame in range(frames)]
    found = [_value(header, frame, "PlanePositionSequence", "ImagePositionPatient") for header, frame in slices]
    if frames > 1 and "PerFrameFunctionalGroupsSequence" not in headers[0]:
        return [None] * frames  # a plain multi-frame image has one position for all its frames
    return [_numbers(value, 3) for value in found]


def _directions(headers: Sequence[Dataset], frames: int, name: str) -> np.ndarray | None:
    """Row and column direction (2, 3), the same for all slices; None if unstated."""
    slices = [(header, 0) for header in headers] if frames == 1 else [(headers[0], frame) for frame in range(frames)]
    values = [
        _numbers(_value(header, frame, "PlaneOrientationSequence", "ImageOrientationPatient"), 6)
        for header, frame in slices
    ]
    if values[0] is None or any(value is None for value in values):
        return None
    if any(np.abs(value - values[0]).max() > _DIRECTION_TOLERANCE for value in values if value is not None):
        raise InputError(f"{name}: its slices lie at different angles; take the localizers out of the series")
    directions = values[0].reshape(2, 3)
    lengths = np.linalg.norm(directions, axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(directions[0] @ directions[1]) > 0.01:
        raise InputError(f"{name}: ImageOrientationPatient must be two unit vectors at a right angle")
    return directions / lengths[:, None]


def _check_series(headers: Sequence[Dataset], name: str) -> None:
    series = {str(header.get("SeriesInstanceUID", "")) for header in headers}
    if len(series) > 1:
        raise InputError(f"{name}: holds {len(series)} series; give them one at a time")
    sizes = sorted({(int(header.Rows), int(header.Columns)) for header in headers})
    if len(sizes) > 1:
        listed = ", ".join(f"{rows} x {columns}" for rows, columns in sizes)
        raise InputError(f"{name}: its slices differ in size ({listed}); a series must have one size")
    spacings = {tuple(map(float, header.get("PixelSpacing") or ())) for header in headers}
    if len(spacings) > 1:
        raise InputError(f"{name}: its slices differ in PixelSpacing; a series must have one")


def _slice_order(positions: Sequence[np.ndarray], directions: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Order of the slices along their normal, and the mean step from one to the next in LPS millimetres (3,)."""
    places = np.array(positions) @ np.cross(directions[0], directions[1])
    order = np.argsort(places, kind="stable")
    gaps = np.diff(places[order])
    double = int((gaps < _POSITION_TOLERANCE).sum())
    if double:
        raise InputError(
            f"{name}: {double} of {len(places)} slices lie where another one does (several phases, echoes or copies); "
            "keep one per position"
        )
    middle = float(np.median(gaps))
    if np.abs(gaps - middle).max() > max(_UNEVEN * middle, 10 * _POSITION_TOLERANCE):
        warnings.warn(
            f"{name}: slices are {gaps.min():.2f} to {gaps.max():.2f} mm apart; some may be missing and sizes in mm3 "
            "are approximate",
            InputWarning,
            stacklevel=2,
        )
    return order, (positions[order[-1]] - positions[order[0]]) / (len(order) - 1)


def _affine(
    headers: Sequence[Dataset], frames: int, name: str
) -> tuple[np.ndarray, np.ndarray] | tuple[None, np.ndarray]:
    """RAS affine over (column, row, slice) and the order of the slices; no affine where positions are unstated."""
    positions = _positions(headers, frames)
    known = [position for position in positions if position is not None]
    if not known:
        if len(headers) > 1:
            raise InputError(f"{name}: its slices state no ImagePositionPatient; give the files one at a time")
        return None, np.arange(len(positions))
    if len(known) < len(positions):
        missing = len(positions) - len(known)
        raise InputError(f"{name}: {missing} of {len(positions)} slices state no ImagePositionPatient; take them out")
    directions = _directions(headers, frames, name)
    spacing = _numbers(_value(headers[0], 0, "PixelMeasuresSequence", "PixelSpacing"), 2)
    if directions is None or spacing is None or spacing.min() <= 0:
        if len(known) > 1:
            raise InputError(f"{name}: its slices state no ImageOrientationPatient or PixelSpacing")
        return None, np.arange(1)
    thickness = _first_number(_value(headers[0], 0, "PixelMeasuresSequence", "SliceThickness")) or 1.0
    order, step = np.arange(1), np.cross(directions[0], directions[1]) * abs(thickness)
    if len(known) > 1:
        order, step = _slice_order(known, directions, name)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([directions[0] * spacing[1], directions[1] * spacing[0], step], axis=1)
    affine[:3, 3] = known[order[0]]
    return LPS_TO_RAS @ affine, order


def _undo_inversion(pixels: np.ndarray, header: Dataset) -> np.ndarray:
    """GDCM turns MONOCHROME1 over before it rescales: v' = slope (top - stored) + intercept. Gives the rescaled v."""
    slope = float(_value(header, 0, "PixelValueTransformationSequence", "RescaleSlope") or 1)
    intercept = float(_value(header, 0, "PixelValueTransformationSequence", "RescaleIntercept") or 0)
    top = -1 if int(header.PixelRepresentation) else 2 ** int(header.BitsStored) - 1
    return (slope * top + 2 * intercept - pixels.astype(np.float64)).astype(np.float32)


def _check_length(path: Path, header: Dataset) -> None:
    """Refuses an uncompressed file shorter than its header promises, before memory for the promise is taken."""
    if header.file_meta.get("TransferSyntaxUID", "") not in _PLAIN_SYNTAXES:
        return
    bits = int(header.Rows) * int(header.Columns) * int(header.get("NumberOfFrames") or 1)
    bits *= int(header.get("SamplesPerPixel", 1)) * int(header.BitsAllocated)
    if header.get("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3
    if path.stat().st_size < bits // 8:
        raise InputError(f"{path}: cannot be read as a DICOM image: cut short, or its header promises too many pixels")


def _pixels(path: Path, header: Dataset) -> tuple[np.ndarray, bool]:
    """Rescaled pixels (frames, rows, columns, C) and whether they are 8-bit display values."""
    import SimpleITK as sitk

    if not is_image(header):
        kind = header.SOPClassUID.name if "SOPClassUID" in header else "object"
        raise InputError(f"{path}: is a DICOM {kind}, not an image to segment")
    _check_length(path, header)
    with reading(path, "a DICOM image"):
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(path))
        image = reader.Execute()
        array = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() == 1:
        array = array[..., None]
    array = array.reshape(-1, *array.shape[-3:])
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        return _undo_inversion(array, header), array.dtype == np.uint8
    return array, array.dtype == np.uint8


def _meta(header: Dataset, frame: int, uint8: bool) -> dict[str, Any]:
    return {
        "uint8": uint8,
        "photometric": str(header.get("PhotometricInterpretation", "MONOCHROME2")),
        "modality": str(header.get("Modality", "")) or None,
        "window_center": _first_number(_value(header, frame, "FrameVOILUTSequence", "WindowCenter")),
        "window_width": _first_number(_value(header, frame, "FrameVOILUTSequence", "WindowWidth")),
    }


def read_dicom(paths: Sequence[Path], name: str) -> StoredImage:
    """Reads one DICOM file, or the files of one series in any order.

    Args:
        paths: the files.
        name: what to call them in messages.

    Returns:
        A volume or slice (columns, rows, slices, C) with its affine, or a picture (rows, columns, C) where the header
        states no position. A grey multi-frame image without positions is a volume whose ``spatial`` is False.

    Raises:
        InputError: not an image, damaged, several series, mixed sizes, missing or repeated positions, a colour cine.
    """
    headers = [read_header(path) for path in paths]
    if len(paths) > 1:
        for path, header in zip(paths, headers, strict=True):
            if not is_image(header) or int(header.get("NumberOfFrames") or 1) > 1:
                raise InputError(f"{path}: is not one slice of a series; give it by itself")
        _check_series(headers, name)
    frames = int(headers[0].get("NumberOfFrames") or 1)
    if frames > 1 and int(headers[0].get("SamplesPerPixel", 1)) > 1:
        raise InputError(f"{name}: is a colour sequence of {frames} frames; save the frame to segment as a PNG picture")
    affine, order = _affine(headers, frames, name)
    if len(paths) > 1:
        parts = [_pixels(paths[index], headers[index]) for index in order]
        pixels, uint8 = np.concatenate([part for part, _ in parts]), all(flag for _, flag in parts)
    else:
        pixels, uint8 = _pixels(paths[0], headers[0])
        if len(pixels) != len(order):
            raise InputError(f"{name}: states {len(order)} frames and holds {len(pixels)}")
        pixels = pixels[order]
    middle = int(order[len(order) // 2])
    meta = _meta(headers[middle] if len(paths) > 1 else headers[0], middle if frames > 1 else 0, uint8)
    spacing = _numbers(headers[0].get("PixelSpacing"), 2)
    if affine is None and frames == 1:
        known = tuple(map(float, spacing)) if spacing is not None and spacing.min() > 0 else None
        return StoredImage(pixels[0], "picture", meta=meta, spacing=known, spatial=False)
    volume = pixels.transpose(2, 1, 0, 3)
    if affine is None:  # frames over time: shown as stored, and no millimetre is claimed
        return StoredImage(volume, "dicom", affine=LPS_TO_RAS.copy(), meta=meta, spatial=False)
    return StoredImage(volume, "dicom", affine=affine, meta=meta)
