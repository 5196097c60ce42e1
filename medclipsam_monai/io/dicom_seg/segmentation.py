"""DICOM Segmentation objects, by highdicom: one segment a class, coded, with what made it and from which images."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset

from medclipsam_monai.base.colours import CLASS_COLOURS
from medclipsam_monai.base.errors import InputError, InputWarning
from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.io.dicom.header import looks_like_dicom
from medclipsam_monai.io.dicom_seg.algorithm import MANUFACTURER, Algorithm, require_highdicom
from medclipsam_monai.io.dicom_seg.segment_codes import Coded, label, private_scheme, segment_codes
from medclipsam_monai.io.dicom_seg.source_frames import read_source_frames
from medclipsam_monai.io.dicom_seg.source_headers import (
    check_sources,
    copy_identity,
    name_classes,
    patient_orientation,
    plain_headers,
)
from medclipsam_monai.io.dicom_seg.source_places import Where, drop_unplaced
from medclipsam_monai.io.geometry import Geometry
from medclipsam_monai.io.guard import only_our_warnings

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from highdicom.sr.coding import CodedConcept
    from torch import Tensor


def not_dicom(name: str) -> InputError:
    """What to say of an image without DICOM headers."""
    return InputError(f"{name}: is not DICOM; a DICOM SEG refers to the DICOM images that it was made from")


def write_segmentation(
    label_map: np.ndarray | Tensor,
    names: Sequence[str],
    geometry: Geometry,
    files: Sequence[Path],
    path: Path,
    algorithm: Algorithm,
    sha256: str | None = None,
) -> Path | None:
    """Write an upright label map as DICOM SEG on the frames of the DICOM files that it was made from.

    Of the files only the headers are decoded.

    Args:
        label_map: (H, W[, D]) uint8: 0 background, else the class's place from 1.
        names: the classes, see `segment_codes`.
        geometry: ``meta["geometry"]`` of the image that `read_image` made of the files.
        files: of the image, in any order.
        path: of the new file.
        algorithm: what made the label map.
        sha256: ``meta["sha256"]`` of that image: files that were changed or exchanged since are refused.

    Returns:
        The path; None, with an `InputWarning`, where the label map is empty: DICOM has no segmentation of nothing.

    Raises:
        InputError: the files are not DICOM, images that a SEG cannot refer to, or not those that were read; highdicom
            is not installed; the file cannot be written.
    """
    require_highdicom()
    if not files or not _is_dicom(files[0]):
        raise not_dicom(files[0].name if files else "an image in memory")
    frames = read_source_frames(files, geometry, sha256)
    result = segmentation_object(frames.stored(label_map), names, frames.headers, algorithm)
    if result is None:
        warnings.warn("nothing was found, so no DICOM SEG is written", InputWarning, stacklevel=2)
        return None
    return save(result, path)


def save(dataset: Dataset, path: Path) -> Path:
    """Write an object as a DICOM file, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    return write_atomically(path, lambda part: dataset.save_as(part, enforce_file_format=True))


@only_our_warnings()
def segmentation_object(
    labels: np.ndarray,
    names: Sequence[str],
    sources: Sequence[Dataset],
    algorithm: Algorithm,
    *,
    description: str = "Segmentation by text",
    series_number: int = 9000,
) -> Dataset | None:
    """A binary DICOM SEG with one segment for each class that was found.

    Args:
        labels: (F, rows, columns) uint8: 0 background, else the class's place from 1; F frames in the order of
            ``sources`` (of their frames, for a multi-frame object).
        names: the K classes; see `segment_codes`.
        sources: the images the labels were made from, headers with or without pixels: single-frame images of one
            series in any order, or one multi-frame image.
        algorithm: what made the labels.
        description: of the new series, at most 64 characters.
        series_number: of the new series.

    Returns:
        The object, for `save`; None if no class has a voxel. A segment's number is its class's place in ``names`` among
        those found, counted from 1. Frames without a voxel of a segment are left out.

    Raises:
        ValueError: shapes or labels that do not fit each other.
        InputError: sources a SEG cannot refer to; the message says what is missing.
    """
    from highdicom import UID
    from highdicom.seg import Segmentation

    expected = (check_sources(sources), int(sources[0].Rows), int(sources[0].Columns))
    if labels.shape != expected or labels.dtype != np.uint8:
        raise ValueError(f"labels must be uint8 {expected}, got {labels.dtype} {labels.shape}")
    if labels.max() > len(names):
        raise ValueError(f"labels must lie in 0..{len(names)}, one a name, got {labels.max()}")
    headers, where = plain_headers(sources)
    found = [number for number in range(1, len(names) + 1) if any((frame == number).any() for frame in labels)]
    if not found:
        return None
    segments = [_segment(place, number, names[number - 1], algorithm) for place, number in enumerate(found, start=1)]
    try:
        result = Segmentation(
            source_images=headers,
            pixel_array=_renumbered(labels, found),
            segmentation_type="BINARY",
            segment_descriptions=segments,
            series_instance_uid=UID(),
            series_number=series_number,
            sop_instance_uid=UID(),
            instance_number=1,
            content_label="SEGMENTATION",
            content_description=label(description),
            series_description=label(description),
            coding_schemes=_private_schemes(segments),
            **algorithm.equipment,
        )
    except (AttributeError, KeyError, ValueError) as error:
        raise InputError(f"DICOM has no segmentation of these images: {' '.join(str(error).split())}") from error
    name_classes(result, sources)
    result.ContentCreatorName = ""
    if where is Where.PIXELS:
        drop_unplaced(result, sources)
        result.PatientOrientation = patient_orientation(sources, 0)
    if where is not Where.PATIENT:
        result.ImageComments = where.value
    copy_identity(sources[0], result)
    return result


def _renumbered(labels: np.ndarray, found: Sequence[int]) -> np.ndarray:
    """Labels with the classes that were found as 1, 2, ...; frame by frame, for NumPy makes 8 bytes of each index."""
    if found == list(range(1, len(found) + 1)):
        return labels
    places = np.zeros(256, np.uint8)
    places[found] = range(1, len(found) + 1)
    return np.stack([places[frame] for frame in labels])


def _segment(place: int, number: int, name: str, algorithm: Algorithm) -> SegmentDescription:
    """The description of a segment: its place among the segments, and the number of its class for the colour."""
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    identification = AlgorithmIdentificationSequence(
        name=label(algorithm.name),
        version=label(algorithm.version),
        family=codes.DCM.ArtificialIntelligence,
        parameters={"preset": algorithm.preset, **{f"sha256 {k}": v for k, v in algorithm.weights.items()}},
    )
    coded = segment_codes(name)
    segment = SegmentDescription(
        segment_number=place,
        segment_label=label(name),
        segmented_property_category=_concept(coded.category),
        segmented_property_type=_concept(coded.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=identification,
        anatomic_regions=None if coded.region is None else [_concept(coded.region)],
        display_color=CIELabColor.from_rgb(*CLASS_COLOURS[(number - 1) % len(CLASS_COLOURS)]),
    )
    if coded.modifiers:
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        kind.SegmentedPropertyTypeModifierCodeSequence = [_concept(modifier) for modifier in coded.modifiers]
    return segment


def _concept(coded: Coded) -> CodedConcept:
    from highdicom.sr.coding import CodedConcept

    return CodedConcept(coded.value, coded.scheme, coded.meaning)


def _private_schemes(segments: Sequence[SegmentDescription]) -> list[Dataset] | None:
    """The identification of the project's coding scheme, where a segment uses it."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    designator, name = private_scheme()
    used = {segment.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator for segment in segments}
    if designator not in used:
        return None
    return [CodingSchemeIdentificationItem(designator, name=name, responsible_organization=MANUFACTURER)]


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return looks_like_dicom(file)
