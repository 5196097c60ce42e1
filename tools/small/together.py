"""Training by several processes as one: each has pictures of its own, and all take the same step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from tools.training.side_by_side import run_side_by_side, set_up


def train_together(job: Callable[..., None], args: tuple[Any, ...], workers: int, meeting: Path) -> float:
    """Run a training in several processes of one thread each; `job` gets its number and how many there are last.

    Args:
        job: trains; it calls `average` before each step.
        args: its first arguments.
        workers: how many processes.
        meeting: a file by which they find each other; a stale one is removed.

    Returns:
        Minutes it took.
    """
    meeting.unlink(missing_ok=True)
    jobs = {f"{job.__name__} {n}": (_work, (job, args, n, workers, meeting)) for n in range(workers)}
    return max(run_side_by_side(jobs).values())


def _work(job: Callable[..., None], args: tuple[Any, ...], number: int, workers: int, meeting: Path) -> None:
    set_up()
    if workers > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=number, world_size=workers)
    try:
        job(*args, number, workers)
    finally:
        if workers > 1:
            dist.destroy_process_group()


def average(parameters: Iterable[Tensor], workers: int) -> None:
    """Give every process the mean of all processes' gradients, in place; those that have none count as 0."""
    if workers == 1:
        return
    parameters = list(parameters)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch._utils._flatten_dense_tensors(gradients)
    dist.all_reduce(flat)
    flat /= workers
    for parameter, gradient in zip(parameters, torch._utils._unflatten_dense_tensors(flat, gradients), strict=True):
        parameter.grad = gradient
