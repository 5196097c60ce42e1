"""DICOM Segmentation objects, by highdicom: one segment a class, coded, with what made it and from which images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydicom.dataset import Dataset

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.dicom_seg.segment_codes import Coded, label, private_scheme, segment_codes
from medclipsam_monai.io.dicom_seg.source_headers import (
    check_sources,
    copy_identity,
    patient_orientation,
    plain_headers,
)
from medclipsam_monai.io.guard import only_our_warnings
from medclipsam_monai.transforms.overlay import CLASS_COLOURS

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from highdicom.sr.coding import CodedConcept

MANUFACTURER = "medclipsam-monai"


@dataclass(frozen=True)
class Algorithm:
    """What made the masks.

    Attributes:
        name: of the algorithm, at most 64 characters.
        version: of the package.
        preset: name of the preset.
        weights: SHA-256 by role, as `TextSegmenter.weights` holds them.
    """

    name: str
    version: str
    preset: str
    weights: Mapping[str, str]

    @property
    def equipment(self) -> dict[str, str]:
        """highdicom's equipment arguments; the serial number is one SHA-256 over all the weights."""
        text = "\n".join(f"{role} {digest}" for role, digest in sorted(self.weights.items()))
        return {
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": label(self.preset),
            "software_versions": label(self.version),
            "device_serial_number": hashlib.sha256(text.encode()).hexdigest(),
        }


@only_our_warnings()
def segmentation_object(
    masks: np.ndarray,
    classes: Sequence[str],
    sources: Sequence[Dataset],
    algorithm: Algorithm,
    *,
    description: str = "Segmentation by text",
    series_number: int = 9000,
) -> Dataset | None:
    """A binary DICOM SEG with one segment for each class that was found.

    Args:
        masks: (K, F, rows, columns) bool; F frames in the order of ``sources`` (of their frames, for a multi-frame
            object). Classes may overlap.
        classes: K names; see `segment_codes`.
        sources: the images the masks were made from, headers with or without pixels: single-frame images of one
            series in any order, or one multi-frame image.
        algorithm: what made the masks.
        description: of the new series, at most 64 characters.
        series_number: of the new series.

    Returns:
        The object, to be saved with ``save_as(path, enforce_file_format=True)``; None if no class has a voxel. A
        segment's number is its class's place in ``classes`` among those found, counted from 1. Frames without a voxel
        of a segment are left out.

    Raises:
        ValueError: shapes that do not fit each other.
        InputError: sources a SEG cannot refer to; the message says what is missing.
    """
    from highdicom import UID
    from highdicom.seg import Segmentation

    expected = (len(classes), check_sources(sources), int(sources[0].Rows), int(sources[0].Columns))
    if masks.shape != expected or masks.dtype != bool:
        raise ValueError(f"masks must be bool {expected}, got {masks.dtype} {masks.shape}")
    headers = plain_headers(sources)
    found = [index for index in range(len(classes)) if masks[index].any()]
    if not found:
        return None
    segments = [_segment(number, index, classes[index], algorithm) for number, index in enumerate(found, start=1)]
    try:
        result = Segmentation(
            source_images=headers,
            pixel_array=np.moveaxis(masks[found], 0, -1),
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
    result.ContentCreatorName = ""
    if "FrameOfReferenceUID" not in result:
        result.PatientOrientation = patient_orientation(sources, 0)
    copy_identity(sources[0], result)
    return result


def _segment(number: int, index: int, name: str, algorithm: Algorithm) -> SegmentDescription:
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
        segment_number=number,
        segment_label=label(name),
        segmented_property_category=_concept(coded.category),
        segmented_property_type=_concept(coded.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=identification,
        anatomic_regions=None if coded.region is None else [_concept(coded.region)],
        display_color=CIELabColor.from_rgb(*CLASS_COLOURS[index % len(CLASS_COLOURS)]),
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
