"""Gradients of a contrastive loss over a batch that does not fit at once (GradCache, arXiv 2101.06983).

A contrastive loss needs all features together, so plain gradient accumulation changes it. Here the features of all
chunks are computed first without a graph; the loss gives the gradient of each feature; then each chunk runs again with
a graph and its features' gradients are propagated. The result is the big batch's gradient; only one chunk's
activations are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from medclipsam_monai.losses.batch import gather_rows, same_group

Features = tuple[Tensor, Tensor]
Backward = Callable[[Tensor], None]


def contrastive_backward(
    network: nn.Module,
    loss_function: nn.Module,
    image: Tensor,
    text: Tensor,
    labels: tuple[Tensor, ...],
    chunk_size: int | None = None,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    backward: Backward = torch.Tensor.backward,
) -> Tensor:
    """Loss of the joint batch of all ranks, and its gradients added to the network's and the loss's parameters.

    Args:
        network: (image, text) to features (B, E) each; may be wrapped in DistributedDataParallel.
        loss_function: a `ContrastiveLoss`.
        image: pictures (B, 3, H, W) in [0, 1].
        text: token numbers (B, L).
        labels: vectors (B,) such as case and caption; pairs that share one are no negatives of each other.
        chunk_size: pairs that go through the network at once; None for all.
        autocast: makes the context of each forward pass.
        backward: propagates the loss, where a gradient scaler does.

    Returns:
        The loss, a scalar without a graph.

    Raises:
        ValueError: if the chunk size is not positive.
    """
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size must be positive, got {chunk_size}")
    whole = chunk_size is None or chunk_size >= len(image)
    chunks = [(image, text)] if whole else list(zip(image.split(chunk_size), text.split(chunk_size), strict=True))
    states: list[Tensor] = []
    features: list[Features] = []
    with nullcontext() if whole else torch.no_grad():
        for chunk in chunks:
            states.append(_random_state(image.device))
            with autocast():
                features.append(network(*chunk))
    leaves = [torch.cat(side).detach().requires_grad_() for side in zip(*features, strict=True)]
    same = same_group(*(gather_rows(label) for label in labels)) if labels else None
    loss = loss_function(*(gather_rows(leaf) for leaf in leaves), same)
    if not torch.isfinite(loss):
        return loss.detach()
    backward(loss)
    gradients = zip(*(_gradient(leaf).split([len(f[0]) for f in features]) for leaf in leaves), strict=True)
    if whole:
        torch.autograd.backward(features[0], next(gradients))
        return loss.detach()
    for number, (chunk, gradient) in enumerate(zip(chunks, gradients, strict=True)):
        # Ranks exchange gradients once, after the last chunk.
        with _no_sync(network, number < len(chunks) - 1), _replayed(states[number], image.device):
            with autocast():
                again = network(*chunk)
            torch.autograd.backward(again, gradient)
    return loss.detach()


def _gradient(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


@contextmanager
def _replayed(state: Tensor, device: torch.device) -> Iterator[None]:
    """The random numbers of the first pass again, so that dropout leaves out the same."""
    before = _random_state(device)
    restore = torch.cuda.set_rng_state if device.type == "cuda" else torch.set_rng_state
    restore(state)
    try:
        yield
    finally:
        restore(before)


def _no_sync(network: nn.Module, wanted: bool) -> AbstractContextManager[Any]:
    no_sync = getattr(network, "no_sync", None)
    return no_sync() if wanted and no_sync is not None else nullcontext()
