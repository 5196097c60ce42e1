"""Which images to label next: the least sure ones, the ones least like what is labelled, or both.

Farthest first is the greedy k-center of "Active learning for convolutional neural networks: a core-set approach"
(Sener and Savarese, ICLR 2018). The server asks for one image, the simulated campaign for several; both ask here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from scipy.stats import rankdata
from torch import Tensor

UNSCORED = float("-inf")
"""The uncertainty of an image that nobody scored: it comes after all that are."""

Criterion = Callable[[Tensor, Tensor, Tensor], Tensor]


def novelty(candidates: Tensor, labelled: Tensor) -> Tensor:
    """How little images are like the labelled ones: 1 - cosine to the nearest of them.

    Where nothing is labelled yet the most typical image is the one to begin with: then it is the mean cosine to all
    candidates.

    Args:
        candidates: (N, E) unit vectors of images.
        labelled: (M, E) unit vectors of the labelled ones; M may be 0.

    Returns:
        (N,), the larger, the better to label.
    """
    if len(labelled) == 0:
        return candidates @ candidates.mean(dim=0)
    return 1 - (candidates @ labelled.T).amax(dim=1)


def most_uncertain(uncertainty: Tensor, candidates: Tensor, labelled: Tensor) -> Tensor:
    """The uncertainty itself, (N,)."""
    return uncertainty


def diverse(uncertainty: Tensor, candidates: Tensor, labelled: Tensor) -> Tensor:
    """The novelty alone, (N,)."""
    return novelty(candidates, labelled)


def mixed(uncertainty: Tensor, candidates: Tensor, labelled: Tensor) -> Tensor:
    """The mean rank of uncertainty and novelty, (N,): ranks, since the two have no common unit."""
    ranks = rankdata(uncertainty) + rankdata(novelty(candidates, labelled))
    return torch.from_numpy(ranks / 2)


def random(uncertainty: Tensor, candidates: Tensor, labelled: Tensor) -> Tensor:
    """Random numbers, (N,)."""
    return torch.rand(len(uncertainty))


CRITERIA: dict[str, Criterion] = {
    "most_uncertain": most_uncertain,
    "diverse": diverse,
    "mixed": mixed,
    "random": random,
}


def pick(
    criterion: Criterion,
    count: int,
    uncertainty: Tensor | Sequence[float],
    candidates: Tensor,
    labelled: Tensor,
) -> list[int]:
    """Choose images one by one, each as if those chosen before it were labelled.

    Args:
        criterion: one of `CRITERIA`.
        count: how many; fewer are chosen where there are fewer candidates.
        uncertainty: (N,) of the candidates, any scale; `UNSCORED` where it is not known.
        candidates: (N, E) unit vectors of the candidates; E may be 0 for a criterion that does not look at them.
        labelled: (M, E) unit vectors of the labelled images.

    Returns:
        Places of the chosen candidates; among equals the first comes first.

    Examples:
        >>> pick(most_uncertain, 2, [0.1, 0.9, 0.5], torch.zeros(3, 0), torch.zeros(0, 0))
        [1, 2]
    """
    uncertainty = torch.as_tensor(uncertainty, dtype=torch.float64)
    left = list(range(len(candidates)))
    chosen: list[int] = []
    while left and len(chosen) < count:
        values = criterion(uncertainty[left], candidates[left], torch.cat([labelled, candidates[chosen]])).tolist()
        best = max(range(len(left)), key=values.__getitem__)
        chosen.append(left.pop(best))
    return chosen
