"""Names and numbers of DICOM SEG as MONAI Label writes and reads it.

It names the segments that it writes by their place among the numbers that a label holds, not by these numbers, and of
one that it reads it keeps no name at all. dcmqi, which writes for it, takes ASCII alone: names come in after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from monailabel.datastore import dicom
from monailabel.datastore.utils.colors import GENERIC_ANATOMY_COLORS
from monailabel.datastore.utils.convert import nifti_to_dicom_seg
from pydicom.dataset import Dataset

from medclipsam_monai.base.checked_fields import shown
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.value_checks import integer
from medclipsam_monai.label.server.patches import replaced

_LONGEST_LABEL = 64  # characters of DICOM's value representation LO
_LONGEST_TEXT = 1024  # characters of ST
_OFF = 0.1  # of a pixel, as far as positions are rounded
_UTF8 = "ISO_IR 192"


def install() -> None:
    """Let MONAI Label's DICOMweb datastore write by `write_named`."""
    replaced(dicom, "nifti_to_dicom_seg", write_named)


def segment_entries(present: Sequence[int], label_info: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What each number of a label is called, in the order in which MONAI Label looks for it.

    Args:
        present: the numbers that the label holds, without 0.
        label_info: entries with "idx" and "name".

    Returns:
        One entry for each number, rising. A name that is too long for a segment's label is its description.

    Raises:
        InputError: a name that would be two in DICOM.
    """
    known = {int(entry["idx"]): dict(entry) for entry in label_info}
    entries = []
    for number in sorted(present):
        entry = known.get(number, {"idx": number, "name": f"unnamed {number}"})
        name = " ".join("".join(sign if sign.isprintable() else " " for sign in str(entry["name"])).split())
        if "\\" in name:
            raise InputError(f"{shown(name)} cannot be a segment's name: in DICOM a backslash ends a name")
        long = len(name) > _LONGEST_LABEL
        said = name if long else entry.get("description") or name
        entries.append({**entry, "name": name[:_LONGEST_LABEL], "description": said})
    return entries


def write_named(series: str | Path, label: str | Path, entries: Sequence[Mapping[str, Any]]) -> str:
    """A label as DICOM SEG with names in any script.

    Args:
        series: folder of the DICOM files that it is for.
        label: NIfTI or NRRD.
        entries: one for each number that it holds, see `segment_entries`.

    Returns:
        The file; "" where the label is empty.

    Raises:
        InputError: dcmqi cannot make DICOM SEG of this series and label.
    """
    file = str(nifti_to_dicom_seg(str(series), str(label), [_for_dcmqi(entry) for entry in entries]))
    if file and not (Path(file).is_file() and Path(file).stat().st_size):
        raise InputError("dcmqi can make no DICOM SEG of this series and label; the server's log says why")
    if file:
        _name_segments(Path(file), entries)
    return file


def _for_dcmqi(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What dcmqi can take of an entry; a colour that is none is left to MONAI Label."""
    color = entry.get("color") or GENERIC_ANATOMY_COLORS.get(entry["name"])
    level = integer(0, 255)
    known = isinstance(color, list | tuple) and len(color) >= 3 and all(level.holds(value) for value in color[:3])
    return {"name": "segment", "description": "segment", **({"color": list(color)[:3]} if known else {})}


def _name_segments(file: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    dataset = pydicom.dcmread(file)
    dataset.decode()  # by its own character set, before it gets another
    dataset.SpecificCharacterSet = _UTF8
    for segment, entry in zip(dataset.SegmentSequence, entries, strict=True):
        segment.SegmentLabel, segment.SegmentDescription = entry["name"], str(entry["description"])[:_LONGEST_TEXT]
        segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning = entry["name"]
    dataset.save_as(file)


def write_segments(series: str | Path, label: str | Path, numbers: Mapping[str, int]) -> str:
    """A label as DICOM SEG.

    Args:
        series: folder of the DICOM files that it is for.
        label: NIfTI or NRRD.
        numbers: of its classes, by name.

    Returns:
        The file; "" where the label is empty.
    """
    import SimpleITK as sitk

    values = np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(label))))
    info = [{"name": name, "idx": number} for name, number in numbers.items()]
    return write_named(series, label, segment_entries([int(v) for v in values if v], info))


def read_segments(folder: str | Path) -> list[dict[str, Any]]:
    """The names of the segments of a DICOM SEG, as "label_info" of a label whose values are the segments' numbers.

    Args:
        folder: holds the one file.
    """
    file = next(path for path in sorted(Path(folder).iterdir()) if path.is_file())
    dataset = pydicom.dcmread(file, stop_before_pixels=True)
    return [{"name": _name(segment), "idx": int(segment.SegmentNumber)} for segment in dataset.SegmentSequence]


def _name(segment: Dataset) -> str:
    label = str(segment.get("SegmentLabel", "")).strip()
    whole = str(segment.get("SegmentDescription", "")).strip()
    return whole if len(whole) > _LONGEST_LABEL and whole[:_LONGEST_LABEL].strip() == label else label


def lay_on_image(segmentation: str | Path, image: str | Path, target: Path) -> Path:
    """A DICOM SEG as a label of its image: what writes them leaves out slices on which nothing is drawn.

    Args:
        segmentation: the segments' numbers on a grid of their own, as ITK's readers give them.
        image: the image's NIfTI.
        target: where to write, a NIfTI.

    Raises:
        InputError: a pixel that is no pixel of the image.
    """
    import SimpleITK as sitk

    seg, reference = sitk.ReadImage(str(segmentation)), sitk.ReadImage(str(image))
    values = sitk.GetArrayFromImage(seg).T
    places = np.argwhere(values)
    corner, *steps = (
        np.array(reference.TransformPhysicalPointToContinuousIndex(seg.TransformContinuousIndexToPhysicalPoint(index)))
        for index in ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    )
    found = corner + places @ (np.stack(steps) - corner)
    index = found.round().astype(int)
    if (abs(found - index) > _OFF).any() or (index < 0).any() or (index >= reference.GetSize()).any():
        raise InputError("a pixel of it is none of the image")
    labels = np.zeros(reference.GetSize(), np.uint16)
    labels[tuple(index.T)] = values[tuple(places.T)]
    laid = sitk.GetImageFromArray(labels.T)
    laid.CopyInformation(reference)
    sitk.WriteImage(laid, str(target))
    return target
