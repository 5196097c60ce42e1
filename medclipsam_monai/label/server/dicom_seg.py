"""Names and numbers of DICOM SEG as MONAI Label writes and reads it.

It names the segments that it writes by their place among the numbers that a label holds, not by these numbers, and of
one that it reads it keeps no name at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from monailabel.datastore.utils.convert import nifti_to_dicom_seg
from pydicom.dataset import Dataset

_LONGEST_LABEL = 64  # characters of DICOM's value representation LO


def segment_entries(present: Sequence[int], label_info: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What each number of a label is called, in the order in which MONAI Label looks for it.

    Args:
        present: the numbers that the label holds, without 0.
        label_info: entries with "idx" and "name".

    Returns:
        One entry for each number, rising. A name that is too long for a segment's label is its description.
    """
    known = {int(entry["idx"]): dict(entry) for entry in label_info}
    entries = []
    for number in sorted(present):
        entry = known.get(number, {"idx": number, "name": f"unnamed {number}"})
        name = str(entry["name"])
        entry = {**entry, "name": name[:_LONGEST_LABEL], "description": entry.get("description") or name}
        entries.append(entry)
    return entries


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
    return str(nifti_to_dicom_seg(str(series), str(label), segment_entries([int(v) for v in values if v], info)))


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
    return whole if len(label) == _LONGEST_LABEL and whole.startswith(label) else label
