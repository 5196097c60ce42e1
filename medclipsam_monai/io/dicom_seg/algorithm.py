"""What made an object: its name, version, preset and weights, as DICOM states them; and the package that writes it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.dicom_seg.segment_codes import label
from medclipsam_monai.version import __version__

MANUFACTURER = "medclipsam-monai"
"""What every object of this package states, by which they are known when they come back."""


@dataclass(frozen=True)
class Algorithm:
    """What made the masks.

    Attributes:
        preset: name of the preset, or of the bundle.
        weights: SHA-256 by role, as `TextSegmenter.weights` holds them.
        name: of the algorithm, at most 64 characters.
        version: of the package.
    """

    preset: str
    weights: Mapping[str, str]
    name: str = "MedCLIP-SAM for MONAI"
    version: str = __version__

    @property
    def equipment(self) -> dict[str, Any]:
        """highdicom's equipment arguments; the serial number is one SHA-256 over all the weights."""
        text = "\n".join(f"{role} {digest}" for role, digest in sorted(self.weights.items()))
        return {
            "manufacturer": MANUFACTURER,
            "manufacturer_model_name": label(self.preset),
            "software_versions": label(self.version),
            "device_serial_number": hashlib.sha256(text.encode()).hexdigest(),
        }


def require_highdicom() -> None:
    """Refuse to go on without the package that makes the objects.

    Raises:
        InputError: highdicom is not installed, or pydicom is older than it needs.
    """
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise InputError(
            "DICOM SEG needs highdicom and pydicom 3: pip install 'medclipsam-monai[seg]' (MONAI Label needs pydicom "
            "2: use another environment there)"
        ) from error
