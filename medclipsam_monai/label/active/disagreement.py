"""How much masks depend on the wording: a doubt that is known before anything was labelled or trained.

The same target is segmented by several wordings. Where an image shows it plainly they find the same; where the masks
differ the text has not found it for sure.
"""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from medclipsam_monai.label.active.judged_slices import judged_slices
from medclipsam_monai.prompts import TextTarget
from medclipsam_monai.zero_shot.opened import OpenedImage
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter

WORDINGS = ("{}", "the {}", "a medical image showing {}", "{} can be seen")
"""For a target that is described only once."""


def soft_dice(first: Tensor, second: Tensor) -> float:
    """Dice coefficient of two maps, 2 <a, b> / (<a, a> + <b, b>); that of masks where they hold 0 and 1 only.

    Args:
        first: in [0, 1], any shape.
        second: of the same shape.

    Returns:
        In [0, 1]; 1 for equal maps, two empty ones among them.

    Raises:
        ValueError: two shapes.
    """
    if first.shape != second.shape:
        raise ValueError(f"maps must have one shape, got {tuple(first.shape)} and {tuple(second.shape)}")
    total = float(first.double().square().sum() + second.double().square().sum())
    return 2 * float((first.double() * second.double()).sum()) / total if total else 1.0


def disagreement(maps: Tensor) -> float:
    """1 - the mean `soft_dice` of all pairs.

    Args:
        maps: (W, ...) in [0, 1], one a wording.

    Returns:
        In [0, 1]; 0 where all are equal, and where all are empty.

    Raises:
        ValueError: fewer than two maps.
    """
    if len(maps) < 2:
        raise ValueError(f"a disagreement needs at least 2 maps, got {len(maps)}")
    pairs = [soft_dice(first, second) for first, second in combinations(maps, 2)]
    return 1 - sum(pairs) / len(pairs)


def wordings(target: TextTarget) -> tuple[TextTarget, ...]:
    """One target for each wording of a class: its own sentences if it has several, else its sentence in `WORDINGS`."""
    sentences = target.sentences
    if len(sentences) == 1:
        sentences = tuple(wording.format(sentences[0]) for wording in WORDINGS)
    return tuple(
        TextTarget(f"{target.name} {number}", (sentence,), target.opposites)
        for number, sentence in enumerate(sentences, start=1)
    )


def prompt_disagreement(segmenter: TextSegmenter, opened: OpenedImage, targets: tuple[TextTarget, ...]) -> float:
    """How much the zero-shot masks of an image depend on the wording, mean over the classes.

    Args:
        segmenter: loaded networks.
        opened: the image; it is encoded once, whatever the number of wordings, and of a volume some slices are looked
            at, see `judged_slices`.
        targets: the classes, see `parse_targets`.

    Returns:
        In [0, 1], see `disagreement`.

    Raises:
        InputError: for a text that cannot be used.
    """
    network = segmenter.network
    classes = [wordings(target) for target in targets]
    texts = network.encode_texts(tuple(wording for group in classes for wording in group))
    found = [network.segment_encoded(picture, texts)[0] for picture in judged_slices(opened, segmenter)]
    probability = torch.stack([result.probability * result.mask for result in found], dim=1)  # (wordings, B, H, W)
    groups = probability.split([len(group) for group in classes])
    return sum(disagreement(group) for group in groups) / len(groups)
