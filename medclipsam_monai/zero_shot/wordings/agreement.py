"""How much masks depend on the wording: the same target by several wordings, and how far their masks are one.

Where an image shows a target plainly all wordings find the same; where the masks differ the text has not found it for
sure.
"""

from __future__ import annotations

from itertools import combinations

from torch import Tensor

from medclipsam_monai.prompts import TextTarget

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


def mask_dice(first: Tensor, second: Tensor) -> float:
    """Dice coefficient of two bool masks of one shape, 1 for two empty ones; memory of a byte a voxel."""
    total = int(first.count_nonzero()) + int(second.count_nonzero())
    return 2 * int((first & second).count_nonzero()) / total if total else 1.0


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
