"""What a header states of numbers and places and what of it cannot be used: never passed over without a word.

What would change the image's numbers is refused. Where the image's numbers stay as they are, and it only is shown in
another way or claims no millimetres, a warning says so. Values are never quoted: one that breaks the rules of its
element may be a patient's name.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.io.dicom.geometry import Slice
from medclipsam_monai.io.dicom.header import first_number, frame_value, functional_group, numbers, readable

VALUES, VOI = "PixelValueTransformationSequence", "FrameVOILUTSequence"
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_PLACES = (
    ("ImagePositionPatient", "PlanePositionSequence", 3),
    ("ImageOrientationPatient", "PlaneOrientationSequence", 6),
    ("PixelSpacing", "PixelMeasuresSequence", 2),
)
_GREYS = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOURS = ("RGB", "YBR_")
_MOST_TABLE_BITS = 16


def is_stated(value: Any) -> bool:
    """Whether an element has a value at all; an empty one is none."""
    return value is not None and (isinstance(value, int | float) or len(value) > 0)


def modality_number(header: Dataset, frame: int, keyword: str, path: Path) -> float | None:
    """RescaleSlope or RescaleIntercept of a frame of a file; None where unstated.

    Raises:
        InputError: it is stated and is not one finite number.
    """
    value = frame_value(header, frame, VALUES, keyword)
    if not is_stated(value):
        return None
    number = None if isinstance(value, MultiValue | list | tuple) else first_number(value)
    if number is None:
        raise InputError(f"{path}: states a {keyword} that is not one number, so its values mean nothing; mend it")
    return number


def check_cells(header: Dataset, path: Path) -> None:
    """Refuse a file whose header does not say what the bits of a pixel mean.

    Raises:
        InputError: PixelRepresentation is stated and neither 0 nor 1, or BitsStored is stated as 0.
    """
    for keyword, allowed in (("PixelRepresentation", (0, 1)), ("BitsStored", range(1, 65))):
        value = header.get(keyword)
        if is_stated(value) and value not in allowed:
            raise InputError(f"{path}: states a {keyword} that is none; expected {allowed[0]} to {allowed[-1]}")


def warn_of_unusable(slices: Sequence[Slice], colour: bool, name: str) -> None:
    """Say in one `InputWarning` what is stated and left aside.

    Args:
        slices: of the image, a header for each.
        colour: whether it has three channels, which no window counts for.
        name: what to call the image.
    """
    found = dict.fromkeys(keyword for one in slices for keyword in (*_places(one), *_display(one, colour)))
    if found:
        warnings.warn(
            f"{name}: what its header states as {', '.join(found)} is against DICOM's rules and is left aside",
            InputWarning,
            stacklevel=3,
        )


def _places(one: Slice) -> list[str]:
    bad = []
    for keyword, group, count in _PLACES:
        value = frame_value(one.header, one.frame, group, keyword)
        found = numbers(value, count)
        if is_stated(value) and (found is None or (keyword == "PixelSpacing" and min(found) <= 0)):
            bad.append(keyword)
    thickness = frame_value(one.header, one.frame, "PixelMeasuresSequence", "SliceThickness")
    if is_stated(thickness) and first_number(thickness) is None:
        bad.append("SliceThickness")
    return bad


def _display(one: Slice, colour: bool) -> list[str]:
    bad = []
    kind = str(readable(one.header, "PhotometricInterpretation") or "MONOCHROME2").strip().upper()
    if not kind.startswith(_COLOURS if colour else _GREYS) and not (colour and kind == _GREYS[-1]):
        bad.append("PhotometricInterpretation")
    allocated, stored, high = (first_number(one.header.get(key)) for key in ("BitsAllocated", "BitsStored", "HighBit"))
    if high is not None and allocated and not (stored or allocated) - 1 <= high < allocated:
        bad.append("HighBit")
    if not colour:
        bad += _window(one)
        if first_number(frame_value(one.header, one.frame, VALUES, "RescaleSlope")) == 0:
            bad.append("RescaleSlope")  # 1 is taken for it, as GDCM does
    return bad


def _window(one: Slice) -> list[str]:
    stated = {key: frame_value(one.header, one.frame, VOI, key) for key in ("WindowCenter", "WindowWidth")}
    found = {key: first_number(value) for key, value in stated.items()}
    bad = [key for key, value in stated.items() if is_stated(value) and found[key] is None]
    if found["WindowWidth"] is not None and found["WindowWidth"] <= 0:
        bad.append("WindowWidth")
    function = frame_value(one.header, one.frame, VOI, "VOILUTFunction")
    if is_stated(function) and str(function).strip().upper() not in FUNCTIONS:
        bad.append("VOILUTFunction")
    tables = (functional_group(one.header, one.frame, VOI) or one.header).get("VOILUTSequence")
    if tables and not all(value is not None for value in found.values()) and not _is_table(tables[0]):
        bad.append("VOILUTSequence")
    return bad


def _is_table(item: Any) -> bool:
    form = numbers(item.get("LUTDescriptor"), 3) if isinstance(item, Dataset) else None
    return form is not None and 0 < int(form[2]) & 0xFFFF <= _MOST_TABLE_BITS
