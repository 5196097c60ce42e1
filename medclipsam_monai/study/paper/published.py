"""The published figures of the papers' main table. Nothing here was measured by this package.

Source: MedCLIP-SAMv2 (Medical Image Analysis 2025, doi:10.1016/j.media.2025.103749, arXiv:2409.19483v4), its comparison
of zero-shot, weakly and fully supervised methods, in which MedCLIP-SAM (arXiv:2403.20253) is run on the same images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SOURCE = "MedCLIP-SAMv2, doi:10.1016/j.media.2025.103749"


@dataclass(frozen=True)
class PaperTask:
    """One column of the table.

    Attributes:
        heading: the papers' name of it.
        images: in the papers' test set.
        text: level of the prompts that the figure of the best zero-shot method was got with; P3 names each image's
            finding.
    """

    heading: str
    images: int
    text: str


TASKS: Mapping[str, PaperTask] = {
    "breast_ultrasound": PaperTask("breast ultrasound", 113, "P3"),
    "brain_mri": PaperTask("brain MRI", 600, "P3"),
    "lung_xray": PaperTask("lung X-ray", 957, "P0"),
    "lung_ct": PaperTask("lung CT", 1800, "P2"),
}
"""The columns, by the names that a study's table calls them."""
ALL = "all"
"""The last column: the mean over the four tasks."""

Score = tuple[float, float]
"""DSC and NSD at 2 pixels, in %."""


def _line(*scores: Score) -> dict[str, Score]:
    """A line of the table: the four tasks, and their mean where it is published."""
    return dict(zip((*TASKS, ALL), scores, strict=False))


PUBLISHED: Mapping[str, Mapping[str, Score]] = {
    "SaLIP": _line((44.33, 48.62), (47.96, 50.24), (63.14, 66.44), (76.32, 78.46), (57.94, 60.94)),
    "SAMAug": _line((56.39, 59.23), (45.71, 48.81), (57.18, 60.08), (44.61, 46.48), (50.97, 53.65)),
    "MedCLIP-SAM": _line((67.82, 69.12), (66.72, 68.01), (64.49, 65.89), (59.14, 60.47), (64.54, 66.10)),
    "MedCLIP-SAMv2": _line((77.76, 81.11), (76.52, 82.23), (75.79, 80.88), (80.38, 82.03), (77.61, 81.56)),
    "MedCLIP-SAM, weak": _line((58.62, 60.94), (58.80, 61.77), (86.07, 88.65), (80.12, 83.73), (70.90, 73.77)),
    "nnU-Net, weak": _line((73.77, 79.71), (77.16, 85.21), (70.15, 74.10), (82.24, 85.65), (75.83, 81.17)),
    "MedCLIP-SAMv2, weak": _line((78.87, 84.58), (80.03, 88.25), (80.77, 84.53), (88.78, 91.95), (82.11, 87.33)),
    "nnU-Net, full": _line((82.47, 88.32), (87.74, 95.10), (98.72, 99.51), (97.10, 99.18)),
}
"""Figures by method and column. Of full supervision no mean is published.

MedCLIP-SAM's mean NSD is given as published, 66.10, though its four figures have the mean 65.87.
"""
