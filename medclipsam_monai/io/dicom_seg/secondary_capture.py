"""Overlay pictures as DICOM Secondary Captures, by highdicom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from medclipsam_monai.io.dicom.header import frame_count, readable
from medclipsam_monai.io.dicom_seg.algorithm import Algorithm
from medclipsam_monai.io.dicom_seg.identifiers import valid_uid
from medclipsam_monai.io.dicom_seg.segment_codes import label
from medclipsam_monai.io.dicom_seg.source_headers import (
    check_sources,
    copy_compression,
    copy_identity,
    patient_orientation,
)
from medclipsam_monai.io.guard import only_our_warnings


@only_our_warnings()
def secondary_captures(
    pictures: np.ndarray,
    sources: Sequence[Dataset],
    algorithm: Algorithm,
    *,
    description: str = "Segmentation by text, overlay",
    series_number: int = 9001,
    frames: Sequence[int] | None = None,
) -> list[Dataset]:
    """Colour pictures as one series of single-frame Secondary Captures.

    Args:
        pictures: (N, rows, columns, 3) uint8 RGB on the grid of the frames as they are stored (not turned upright), so
            that a viewer shows each as it shows its source.
        sources: the images the pictures were made from: single-frame images of one series, or one multi-frame image.
        algorithm: what made the overlay.
        description: of the new series, at most 64 characters.
        series_number: of the new series.
        frames: which frame of ``sources`` each picture shows, counted from 0 in their order; all by default.

    Returns:
        N objects, to be saved with ``save_as(path, enforce_file_format=True)``. They refer to their source frames.

    Raises:
        ValueError: shapes or numbers that do not fit each other.
        InputError: sources without what a Secondary Capture needs.
    """
    from highdicom import UID

    count = check_sources(sources)
    shown = range(count) if frames is None else frames
    expected = (len(shown), int(sources[0].Rows), int(sources[0].Columns), 3)
    if pictures.shape != expected or pictures.dtype != np.uint8:
        raise ValueError(f"pictures must be uint8 {expected}, got {pictures.dtype} {pictures.shape}")
    if any(not 0 <= frame < count for frame in shown):
        raise ValueError(f"frames must be in 0..{count - 1}, got {list(shown)}")
    series = {
        "series_instance_uid": UID(),
        "series_number": series_number,
        "series_description": label(description),
        **algorithm.equipment,
    }
    made_by = f"{algorithm.name} {algorithm.version}, preset {algorithm.preset}"
    return [
        _capture(picture, sources, frame, series, number, made_by)
        for number, (picture, frame) in enumerate(zip(pictures, shown, strict=True), start=1)
    ]


def _capture(
    picture: np.ndarray, sources: Sequence[Dataset], frame: int, series: dict[str, Any], number: int, made_by: str
) -> Dataset:
    from highdicom import UID
    from highdicom.sc import SCImage

    source = sources[frame if len(sources) > 1 else 0]
    capture = SCImage(
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=valid_uid(source.StudyInstanceUID),
        sop_instance_uid=UID(),
        instance_number=number,
        patient_orientation=("L", "P"),  # the true one is set below: highdicom takes no unknown one
        **series,
    )
    capture.PatientOrientation = patient_orientation(sources, frame) or []
    capture.Laterality = readable(source, "Laterality") if readable(source, "Laterality") in ("L", "R") else ""
    capture.ConversionType = "WSD"
    capture.DerivationDescription = made_by
    capture.SourceImageSequence = [_reference(source, frame if len(sources) == 1 else None)]
    if readable(source, "BurnedInAnnotation") in ("YES", "NO"):
        capture.BurnedInAnnotation = source.BurnedInAnnotation
    copy_compression(source, capture)
    copy_identity(source, capture)
    return capture


def _reference(source: Dataset, frame: int | None) -> Dataset:
    from highdicom.sr.coding import CodedConcept

    reference = Dataset()
    reference.ReferencedSOPClassUID = valid_uid(source.SOPClassUID)
    reference.ReferencedSOPInstanceUID = valid_uid(source.SOPInstanceUID)
    if frame is not None and frame_count(source) > 1:
        reference.ReferencedFrameNumber = frame + 1
    purpose = CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)
    reference.PurposeOfReferenceCodeSequence = [purpose]
    return reference
