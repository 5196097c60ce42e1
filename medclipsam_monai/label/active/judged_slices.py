"""The pictures by which an image is judged before anyone labels it: a volume's score need not cost what it costs."""

from __future__ import annotations

from collections.abc import Iterator

from medclipsam_monai.zero_shot.encoded import EncodedImages
from medclipsam_monai.zero_shot.opened import OpenedImage
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

MOST_SLICES = 8


def judged_slices(
    opened: OpenedImage, segmenter: TextSegmenter | None = None, most: int = MOST_SLICES
) -> Iterator[EncodedImages]:
    """A picture itself, or evenly spaced slices of a volume, one by one as the networks' stages take them.

    Args:
        opened: the image.
        segmenter: with other settings; None for the image's own.
        most: of a volume's slices, from 1 on.
    """
    count = min(most, opened.slices)
    for part in range(count):
        middle = int((part + 0.5) * opened.slices / count)  # of equal parts, so that no end is looked at twice
        yield opened.encoded(middle, segmenter=segmenter)
