"""What a visitor may send, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass

from medclipsam_monai.base.errors import plain_reason
from medclipsam_monai.web.visits.jobs import Cancelled
from medclipsam_monai.web.visits.reworded import Reworded
from medclipsam_monai.zero_shot.segmentation import Segmentation
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter


@dataclass(frozen=True)
class Limits:
    """What a visitor may send.

    Attributes:
        upload: bytes at once.
        voxels: of an image; None for the package's own limit.
    """

    upload: int = 2**30
    voxels: int | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """What was found.

    Attributes:
        segmentation: with the corrections.
        by_text: without them.
        segmenter: that made it.
        made: what was computed anew, in words; all else was there.
        seconds: from the question to this.
        reworded: the same in other words, where that was asked for.
    """

    segmentation: Segmentation
    by_text: Segmentation
    segmenter: TextSegmenter
    made: tuple[str, ...] = ()
    seconds: float = 0.0
    reworded: tuple[Reworded, ...] = ()


def told(error: BaseException) -> str:
    """What went wrong, as the page says it; nothing for what was cancelled."""
    if isinstance(error, Cancelled):
        return ""
    line = plain_reason(error if isinstance(error, Exception) else RuntimeError(type(error).__name__))
    return line.replace("; --debug shows where", "")
