"""Which pairs are held out: a split that keeps cases whole, and cases that share a caption together.

MedPix repeats one caption over the images of a case, so pairs are split by case and never by image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.finetune.data.pairs import Pair


def split_by_case(pairs: Sequence[Pair], fraction: float = 0.15, seed: int = 0) -> tuple[list[Pair], list[Pair]]:
    """Training and held-out pairs; a case is wholly in one of them, and so is a caption that several cases share.

    Args:
        pairs: all pairs.
        fraction: share of the pairs to hold out, in (0, 1).
        seed: of the choice; the same pairs and seed always give the same split, whatever their order.

    Raises:
        ValueError: if the fraction is not in (0, 1).
        InputError: if the pairs cannot be split because all hang together.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, got {fraction}")
    groups = _linked_groups(pairs)
    names = sorted(set(groups))
    if len(names) < 2:
        raise InputError(f"the {len(pairs)} pairs cannot be split: all belong to one case or share one caption")
    sizes, wanted = Counter(groups), fraction * len(pairs)
    held: set[str] = set()
    count = 0
    for number in np.random.default_rng(seed).permutation(len(names)):
        name = names[number]
        # A group is passed over where taking it would overshoot more than stopping short undershoots.
        if count + sizes[name] / 2 <= wanted:
            held.add(name)
            count += sizes[name]
    held = held or {min(names, key=lambda name: (sizes[name], name))}
    train = [pair for pair, group in zip(pairs, groups, strict=True) if group not in held]
    return train, [pair for pair, group in zip(pairs, groups, strict=True) if group in held]


def number_labels(values: Sequence[str]) -> list[int]:
    """Equal texts to equal whole numbers, counted in order of appearance; captions are compared without case."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(value.casefold(), len(numbers)) for value in values]


def _linked_groups(pairs: Sequence[Pair]) -> list[str]:
    """For each pair the least case that it is linked to, over shared captions."""
    parent: dict[str, str] = {pair.case: pair.case for pair in pairs}

    def top(case: str) -> str:
        while parent[case] != case:
            parent[case] = parent[parent[case]]
            case = parent[case]
        return case

    first_with: dict[str, str] = {}
    for pair in pairs:
        one, other = top(pair.case), top(first_with.setdefault(pair.caption.casefold(), pair.case))
        parent[max(one, other)] = min(one, other)
    return [top(pair.case) for pair in pairs]
