"""Images that were read, answered by the networks: pictures of one size together, one that fails by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medclipsam_monai.base.memory_cache import MemoryCache
from medclipsam_monai.zero_shot.one_image.reading import ShownImage
from medclipsam_monai.zero_shot.one_image.steps import notes
from medclipsam_monai.zero_shot.segmentation import Request, Segmentation

if TYPE_CHECKING:
    from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter


@dataclass(frozen=True)
class Answered:
    """What became of one image.

    Attributes:
        found: the answer, None where it failed.
        error: why it failed.
        told: what this package warned about the image, a line each.
    """

    found: Segmentation | None
    error: Exception | None = None
    told: tuple[str, ...] = ()


def answer_images(
    segmenter: TextSegmenter,
    images: Sequence[ShownImage],
    labels: Sequence[str],
    request: Request,
    progress: bool = False,
) -> list[Answered]:
    """Segment images that were read; none fails for another, and no image is warned about for another.

    Args:
        segmenter: loaded networks.
        images: pictures and volumes; pictures of one size go through the networks together.
        labels: what to call each image in what is told about it.
        request: what is asked of each.
        progress: show a bar over the slices of a volume.
    """
    groups: dict[object, list[int]] = {}
    for place, image in enumerate(images):
        shape = tuple(image.display.shape)
        groups.setdefault(shape if len(shape) == 3 else place, []).append(place)
    answers: dict[int, Answered] = {}
    for places in groups.values():
        together = _together(segmenter, [images[place] for place in places], request) if len(places) > 1 else None
        for k, place in enumerate(places):
            found = Answered(together[k]) if together else None
            answers[place] = found or _alone(segmenter, images[place], labels[place], request, progress)
    return [answers[place] for place in range(len(images))]


def _together(segmenter: TextSegmenter, images: list[ShownImage], request: Request) -> list[Segmentation] | None:
    """Answers to pictures of one size; None where one failed or was warned about, as nobody says which."""
    told: list[str] = []
    try:
        with notes("", _into(told)):
            found = segmenter.answer_together(images, request)
    except Exception:
        return None
    return None if told else found


def _alone(segmenter: TextSegmenter, image: ShownImage, label: str, request: Request, progress: bool) -> Answered:
    told: list[str] = []
    try:
        with notes(label, _into(told)):
            found = segmenter.opened(image, MemoryCache(0)).answer(request, progress=progress)
    except Exception as error:
        return Answered(None, error, tuple(told))
    return Answered(found, None, tuple(told))


def _into(lines: list[str]) -> Callable[[str, str], None]:
    """What puts the lines of `notes` into a list."""
    return lambda kind, line: lines.append(line)
