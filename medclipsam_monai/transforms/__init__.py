"""MONAI transforms of the zero-shot stage: display range, saliency to coarse mask, visual prompts, overlays."""

from __future__ import annotations

from medclipsam_monai.base.windows import CT_WINDOWS, Window, parse_window
from medclipsam_monai.transforms.coarse import (
    CoarseMask,
    CoarseMaskD,
    CoarseMaskd,
    CoarseMaskDict,
    FixedThreshold,
    OtsuThreshold,
    TwoMeansThreshold,
)
from medclipsam_monai.transforms.components import (
    KeepConfidentComponents,
    KeepLargestComponents,
    as_many_components,
    count_components,
    label_components,
)
from medclipsam_monai.transforms.dense_crf import DenseCRF
from medclipsam_monai.transforms.display import DisplayRange, DisplayRangeD, DisplayRanged, DisplayRangeDict
from medclipsam_monai.transforms.overlay import (
    CLASS_COLOURS,
    Overlay,
    OverlayD,
    Overlayd,
    OverlayDict,
    saliency_picture,
)
from medclipsam_monai.transforms.prompts import (
    PromptsFromMask,
    PromptsFromMaskD,
    PromptsFromMaskd,
    PromptsFromMaskDict,
    VisualPrompts,
)

__all__ = [
    "CLASS_COLOURS",
    "CT_WINDOWS",
    "CoarseMask",
    "CoarseMaskD",
    "CoarseMaskDict",
    "CoarseMaskd",
    "DenseCRF",
    "DisplayRange",
    "DisplayRangeD",
    "DisplayRangeDict",
    "DisplayRanged",
    "FixedThreshold",
    "KeepConfidentComponents",
    "KeepLargestComponents",
    "OtsuThreshold",
    "Overlay",
    "OverlayD",
    "OverlayDict",
    "Overlayd",
    "PromptsFromMask",
    "PromptsFromMaskD",
    "PromptsFromMaskDict",
    "PromptsFromMaskd",
    "TwoMeansThreshold",
    "VisualPrompts",
    "Window",
    "as_many_components",
    "count_components",
    "label_components",
    "parse_window",
    "saliency_picture",
]
