"""MedCLIP-SAM and MedCLIP-SAMv2 for MONAI: segment medical images by describing what to segment.

Importing the package loads no model code; ``TextSegmenter`` is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medclipsam_monai.version import __version__

if TYPE_CHECKING:
    from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

__all__ = ["TextSegmenter", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "TextSegmenter":
        from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

        return TextSegmenter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
