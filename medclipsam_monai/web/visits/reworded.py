"""The same request in other words: what each wording finds, and how far they agree."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.prompts import TextTarget
from medclipsam_monai.prompts.prompt_set import PromptSet, load_prompt_set, prompt_set_names
from medclipsam_monai.zero_shot.opened import OpenedImage
from medclipsam_monai.zero_shot.segmentation import Segmentation
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter
from medclipsam_monai.zero_shot.volumes.progress import Progress
from medclipsam_monai.zero_shot.wordings.agreement import mask_dice, wordings


@dataclass(frozen=True, eq=False)
class Wording:
    """What one wording finds.

    Attributes:
        sentence: the words.
        mask: (H, W[, D]) bool.
        presence: see `ZeroShotResult`.
        dice: with the mask of the class as it was asked for.
    """

    sentence: str
    mask: Tensor
    presence: float | None
    dice: float


@dataclass(frozen=True, eq=False)
class Reworded:
    """A class in other words.

    Attributes:
        name: of the class.
        wordings: what each finds.
        agreement: mean Dice coefficient of all pairs of wordings.
        sizes: the smallest, the mean and the largest mask, as shares of the mask as it was asked for; None where that
            is empty.
    """

    name: str
    wordings: tuple[Wording, ...]
    agreement: float
    sizes: tuple[float, float, float] | None


@functools.cache
def shipped_sets() -> tuple[PromptSet, ...]:
    """The prompt sets that come with the package, read once."""
    return tuple(map(load_prompt_set, prompt_set_names()))


def other_words(target: TextTarget, kinds: Sequence[str] = ()) -> tuple[TextTarget, ...]:
    """A class for each wording: those of the prompt set that has it as its target, else `wordings` of its sentence.

    Args:
        target: the class.
        kinds: of picture that this may be; a set for one of them goes before others.
    """
    known = [one for one in shipped_sets() if _is_of(one, target)]
    known.sort(key=lambda one: one.modality not in kinds)
    sentences = known[0].wordings if known else tuple(one.sentences[0] for one in wordings(target))
    return tuple(
        TextTarget(f"{target.name} in words {number}", (sentence,), target.opposites)
        for number, sentence in enumerate(sentences, start=1)
    )


def _is_of(prompts: PromptSet, target: TextTarget) -> bool:
    words = {target.name.strip().lower(), *(sentence.strip().lower() for sentence in target.sentences)}
    return len(target.sentences) == 1 and prompts.target.lower() in words


def reword(
    segmentation: Segmentation, opened: OpenedImage, segmenter: TextSegmenter, progress: Progress = False
) -> tuple[Reworded, ...]:
    """Ask for each class of a segmentation in other words.

    Args:
        segmentation: by text.
        opened: its image, which is encoded once.
        segmenter: that made it.
        progress: over the slices of a volume, see `Progress`.

    Raises:
        InputError: the encoder takes no other words for a class.
    """
    picture = segmentation.found.picture
    kinds = () if picture is None else picture.kinds
    done = []
    for k, target in enumerate(target for target in segmentation.request.targets if target.sentences):
        asked = [one for one in other_words(target, kinds) if _is_read(one, segmenter)]
        if len(asked) < 2:
            raise InputError(f"these weights read no other words for {target.name!r}")
        request = segmenter.request(list(asked), None, opened.window, opened.slice_axis)
        found = opened.answer(request, segmenter, progress).found
        mask = segmentation.label_map == k + 1
        each = tuple(
            Wording(one.sentences[0], found.mask[w], found.presence[w], mask_dice(found.mask[w], mask))
            for w, one in enumerate(asked)
        )
        done.append(Reworded(target.name, each, _agreement(each), _sizes(each, mask)))
    return tuple(done)


def _is_read(target: TextTarget, segmenter: TextSegmenter) -> bool:
    """Whether the encoder takes a wording: it may be too long for it, or of words that it has not."""
    try:
        segmenter.network.encode_texts((target,))
    except InputError:
        return False
    return True


def _agreement(found: Sequence[Wording]) -> float:
    pairs = [mask_dice(first.mask, second.mask) for first, second in combinations(found, 2)]
    return sum(pairs) / len(pairs)


def _sizes(found: Sequence[Wording], mask: Tensor) -> tuple[float, float, float] | None:
    whole = int(mask.count_nonzero())
    if not whole:
        return None
    shares = [int(one.mask.count_nonzero()) / whole for one in found]
    return min(shares), sum(shares) / len(shares), max(shares)
