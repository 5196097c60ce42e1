"""Which files are written for an image, and how they are called."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from medclipsam_monai.io.formats.table import FORMATS


@dataclass(frozen=True)
class OutputFiles:
    """What is written besides the mask and the record.

    Attributes:
        overlay: the picture with masks and legend drawn in.
        save_saliency: each class's map, and it over the image.
        save_probability: each class's SAM probability.
        format: "nrrd" for a mask with the names of its segments, for 3D Slicer; None for the input's own kind.
        dicom_seg: of a DICOM image also a DICOM SEG, unless nothing was found, see `write_segmentation`.
    """

    overlay: bool = True
    save_saliency: bool = False
    save_probability: bool = False
    format: str | None = None
    dicom_seg: bool = False

    @property
    def values(self) -> dict[str, Any]:
        """As a request says it."""
        return asdict(self)

    def names(self, stem: str, kind: str, classes: int) -> list[str]:
        """Names that `Segmentation.save` may write, all but the record's, before the image is read.

        Args:
            stem: start of the names.
            kind: of the image, see `ImageSource`; DICOM gives one of two suffixes.
            classes: how many.
        """
        suffixes = FORMATS[kind].mask_suffixes
        masks = [".seg.nrrd"] if self.format == "nrrd" else suffixes
        ends = [f"_mask{suffix}" for suffix in masks]
        if ".nii.gz" in masks:
            ends.append("_labels.txt")
        if self.dicom_seg:
            ends.append("_seg.dcm")
        if self.overlay:
            ends.append("_overlay.png")
        for number in class_numbers(classes):
            if self.save_saliency:
                ends += [*(f"_saliency{number}{suffix}" for suffix in suffixes), f"_saliency{number}_overlay.png"]
            if self.save_probability:
                ends += [f"_probability{number}{suffix}" for suffix in suffixes]
        return [stem + end for end in ends]


def class_numbers(classes: int) -> list[str]:
    """What tells the files of several classes apart: "_1", "_2" ...; nothing where there is one."""
    return [f"_{k + 1}" for k in range(classes)] if classes > 1 else [""]
