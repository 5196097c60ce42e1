"""The joint batch of a contrastive loss: gathered over ranks with gradients, and its known false negatives."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from medclipsam_monai.losses.distributed import rank, world_size


class _Gather(torch.autograd.Function):
    """Concatenate the rows of all ranks; backward hands each rank the sum of all ranks' gradients of its rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.count = len(rows)
        parts = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total[rank() * ctx.count :][: ctx.count]


def gather_rows(rows: Tensor) -> Tensor:
    """The rows of every rank's matrix, in order of rank, with gradients back to each.

    Every rank that computes the same loss from the result gets as gradient the number of ranks times that of one
    process with the joint batch; DistributedDataParallel's mean over ranks takes that factor off again.

    Args:
        rows: (B, ...), the same shape on every rank.

    Returns:
        (ranks * B, ...); `rows` itself where there is one process.
    """
    return rows if world_size() == 1 else _Gather.apply(rows)


def same_group(*labels: Tensor) -> Tensor:
    """Which pairs of a batch cannot be each other's negatives, for `contrastive_loss`.

    Args:
        labels: one or more vectors (B,) of whole numbers, such as each pair's case and its caption.

    Returns:
        (B, B) bool, true off the diagonal where two pairs share at least one label.

    Raises:
        ValueError: for no labels, or vectors of several lengths.
    """
    if not labels or any(label.ndim != 1 or label.shape != labels[0].shape for label in labels):
        raise ValueError(f"labels must be vectors of one length, got {[tuple(label.shape) for label in labels]}")
    same = torch.zeros(len(labels[0]), len(labels[0]), dtype=torch.bool, device=labels[0].device)
    for label in labels:
        same |= label[:, None] == label[None]
    return same.fill_diagonal_(False)
