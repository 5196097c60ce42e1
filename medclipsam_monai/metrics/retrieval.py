"""Image-text retrieval: how often the right text is among the first k for an image, and the other way round.

The protocol of MedCLIP-SAM (arXiv 2403.20253, table 1) cuts the pairs at random into batches of 50 and ranks inside a
batch; five such draws give a mean and a standard deviation. Ranking over the whole set is harder and depends on its
size.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from ignite.engine import Engine
from ignite.exceptions import NotComputableError
from ignite.metrics import EpochWise, Metric
from monai.utils import evenly_divisible_all_gather
from torch import Tensor

from medclipsam_monai.base.errors import InputError

DIRECTIONS = ("image_to_text", "text_to_image")
_EPOCH_WISE = EpochWise()


@dataclass(frozen=True)
class BatchedRetrieval:
    """Top-k accuracies, in [0, 1], by the protocol of batches.

    Attributes:
        mean: by name, such as "image_to_text_top1"; over the draws.
        deviation: standard deviation over the draws (n - 1), by the same names; 0 for one draw.
        batch: pairs in a batch.
        draws: number of draws.
    """

    mean: dict[str, float]
    deviation: dict[str, float]
    batch: int
    draws: int


def _validate(image: Tensor, text: Tensor, ks: Sequence[int], positives: Tensor | None) -> None:
    if image.ndim != 2 or image.shape != text.shape or len(image) < 2:
        raise ValueError(
            "image and text features must be two matrices of one shape (pairs, dim) with 2 pairs or more, "
            f"got {tuple(image.shape)} and {tuple(text.shape)}"
        )
    if not ks or min(ks) < 1:
        raise ValueError(f"k must be 1 or more, got {list(ks)}")
    if positives is not None and tuple(positives.shape) != (len(image), len(image)):
        raise ValueError(f"positives must be ({len(image)}, {len(image)}), got {tuple(positives.shape)}")


def ranks(similarity: Tensor, positives: Tensor) -> Tensor:
    """Rank of the best right column in each row, 0 for the first.

    Args:
        similarity: (N, M).
        positives: (N, M) bool, which columns are right.

    Returns:
        (N,) int64: how many wrong columns score at least as high, so that a network without an opinion gets the last
        place rather than a lucky one.
    """
    best = similarity.masked_fill(~positives, -torch.inf).amax(dim=1, keepdim=True)
    return ((similarity >= best) & ~positives).sum(dim=1)


def retrieval(
    image: Tensor, text: Tensor, ks: Sequence[int] = (1, 2, 5), positives: Tensor | None = None
) -> dict[str, float]:
    """Top-k accuracies over the whole set.

    Args:
        image: features (N, dim), normalised here; row i belongs to row i of `text`.
        text: features (N, dim).
        ks: how many of the first count.
        positives: (N, N) bool, texts that are right for an image besides its own, such as equal captions.

    Returns:
        Shares in [0, 1] under names such as "image_to_text_top1".

    Raises:
        ValueError: for fewer than 2 pairs, features of two shapes, or a k under 1.
    """
    _validate(image, text, ks, positives)
    similarity = F.normalize(image.double(), dim=1) @ F.normalize(text.double(), dim=1).T
    right = torch.eye(len(image), dtype=torch.bool, device=image.device)
    if positives is not None:
        right |= positives.to(image.device)
    both = (ranks(similarity, right), ranks(similarity.T, right.T))
    return {
        f"{direction}_top{k}": float((rank < k).double().mean())
        for direction, rank in zip(DIRECTIONS, both, strict=True)
        for k in ks
    }


def _check_enough(pairs: int, batch: int) -> None:
    if pairs < batch:
        raise InputError(f"retrieval in batches of {batch} needs as many pairs, got {pairs}; lower the batch")


def batched_retrieval(
    image: Tensor,
    text: Tensor,
    batch: int = 50,
    draws: int = 5,
    seed: int = 0,
    ks: Sequence[int] = (1, 2, 5),
    positives: Tensor | None = None,
) -> BatchedRetrieval:
    """Top-k accuracies by the paper's protocol: inside random batches, mean and deviation over draws.

    Args:
        image: features (N, dim).
        text: features (N, dim).
        batch: pairs in a batch; the pairs that do not fill one are left out of a draw.
        draws: how often the pairs are cut into batches.
        seed: of the draws.
        ks: how many of the first count.
        positives: as in `retrieval`.

    Raises:
        InputError: if there are fewer pairs than one batch takes.
        ValueError: as in `retrieval`, and for a batch under 2 or no draws.
    """
    _validate(image, text, ks, positives)
    if batch < 2 or draws < 1:
        raise ValueError(f"batch must be 2 or more and draws 1 or more, got {batch} and {draws}")
    _check_enough(len(image), batch)
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(draws):
        order = torch.randperm(len(image), generator=generator)[: len(image) // batch * batch]
        parts = [
            retrieval(image[part], text[part], ks, None if positives is None else positives[part][:, part])
            for part in order.split(batch)
        ]
        rows.append({name: sum(part[name] for part in parts) / len(parts) for name in parts[0]})
    table = torch.tensor([list(row.values()) for row in rows], dtype=torch.float64)
    deviation = table.std(dim=0) if draws > 1 else torch.zeros(table.shape[1])
    names = list(rows[0])
    return BatchedRetrieval(
        dict(zip(names, table.mean(dim=0).tolist(), strict=True)),
        dict(zip(names, deviation.tolist(), strict=True)),
        batch,
        draws,
    )


class _FeatureMetric(Metric):
    """Keeps the features of all pairs of a run, and of all ranks.

    Args:
        output_transform: from the engine's output to image features (B, dim), text features (B, dim) and captions
            (B,), equal numbers for equal captions.
        ks: how many of the first count.
    """

    def __init__(
        self, output_transform: Callable[[Any], Any] = lambda output: output, ks: Sequence[int] = (1, 2, 5)
    ) -> None:
        self.ks = tuple(ks)
        super().__init__(output_transform)

    def reset(self) -> None:
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []

    def update(self, output: Sequence[Tensor]) -> None:
        image, text, captions = output
        self._parts.append((image.detach().float(), text.detach().float(), captions))

    def features(self) -> tuple[Tensor, Tensor, Tensor]:
        """Image and text features (N, dim), and which texts (N, N) are right for which image by an equal caption."""
        if not self._parts:
            raise NotComputableError("retrieval needs at least one batch of features")
        image, text, captions = (torch.cat(part) for part in zip(*self._parts, strict=True))
        image, text, captions = (evenly_divisible_all_gather(x, concat=True) for x in (image, text, captions))
        return image, text, captions[:, None] == captions[None]

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Retrieval figures by name, in [0, 1]."""

    def completed(self, engine: Engine, name: str) -> None:
        """Store the mean of both directions' first top-k under `name`, and each figure under `name` and its own."""
        figures = self.compute()
        engine.state.metrics[name] = sum(figures[f"{way}_top{self.ks[0]}"] for way in DIRECTIONS) / len(DIRECTIONS)
        engine.state.metrics.update({f"{name}_{key}": value for key, value in figures.items()})


class RetrievalInBatches(_FeatureMetric):
    """The paper's protocol as an Ignite metric; see `batched_retrieval`.

    Attached as "retrieval" it gives "retrieval" (mean of both directions' top-1), "retrieval_image_to_text_top1" and
    so on, and their standard deviations, "retrieval_image_to_text_top1_sd" and so on.

    Args:
        output_transform: to image features, text features and caption numbers.
        ks: how many of the first count.
        batch: pairs in a batch.
        draws: number of draws.
        seed: of the draws.
    """

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = lambda output: output,
        ks: Sequence[int] = (1, 2, 5),
        batch: int = 50,
        draws: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__(output_transform, ks)
        self._protocol = (batch, draws, seed)

    def attach(self, engine: Engine, name: str, usage: Any = _EPOCH_WISE) -> None:
        """Ignite's; an engine that knows its data is refused now, not after its first run.

        Raises:
            InputError: if there are fewer pairs than one batch takes.
        """
        dataset = getattr(getattr(engine, "data_loader", None), "dataset", None)
        if dataset is not None:
            _check_enough(len(dataset), self._protocol[0])
        super().attach(engine, name, usage)

    def compute(self) -> dict[str, float]:
        image, text, positives = self.features()
        result = batched_retrieval(image, text, *self._protocol, self.ks, positives)
        return result.mean | {f"{name}_sd": value for name, value in result.deviation.items()}


class RetrievalOverAll(_FeatureMetric):
    """Retrieval over the whole set as an Ignite metric; see `retrieval`, and `RetrievalInBatches` for the names."""

    def compute(self) -> dict[str, float]:
        image, text, positives = self.features()
        return retrieval(image, text, self.ks, positives)
