"""Batches in which no case and no caption occurs twice: either would be a negative of itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.losses.distributed import rank, world_size

_log = logging.getLogger(__name__)


class DistinctBatchSampler(Sampler[list[int]]):
    """Batches of pairs, in an order that depends on the seed and the epoch only.

    With several ranks the joint batch of all of them is distinct, and each rank gets its own part of it, so that the
    ranks together see what one process with the joint batch size would see.

    Args:
        cases: the case of each pair, equal numbers for one case.
        captions: the caption of each pair, equal numbers for one caption.
        batch_size: pairs in a batch of one rank.
        seed: of the order.

    Raises:
        InputError: for a batch of one, or fewer distinct pairs than a joint batch needs.
    """

    def __init__(self, cases: Sequence[int], captions: Sequence[int], batch_size: int, seed: int = 0) -> None:
        self._labels = list(zip(cases, captions, strict=True))
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        if self._joint_size < 2:
            raise InputError(f"a batch needs at least 2 pairs to have negatives, got batch_size {batch_size}")
        self._length = len(list(self._one_pass(0, 0)))
        if not self._length:
            most = min(len(set(cases)), len(set(captions)))
            raise InputError(
                f"the {len(self._labels)} pairs have {len(set(cases))} cases and {len(set(captions))} captions, so a "
                f"batch can hold at most {most} distinct ones; got batch_size {self._joint_size} over all ranks"
            )
        left = len(self._labels) - self._length * self._joint_size
        _log.info("%d batches an epoch; %d pairs wait for a later epoch", self._length, left)

    @property
    def _joint_size(self) -> int:
        return self.batch_size * world_size()

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches in an epoch, the same in each."""
        return self._length

    def __iter__(self) -> Iterator[list[int]]:
        made, turn = 0, 0
        start = rank() * self.batch_size
        while made < self._length:
            # A pass may yield a batch less than the first one did; the next goes on with another order.
            for batch in self._one_pass(self.epoch, turn):
                if made < self._length:
                    made += 1
                    yield batch[start : start + self.batch_size]
            turn += 1

    def _one_pass(self, epoch: int, turn: int) -> Iterator[list[int]]:
        """Full joint batches of a random order; a pair that does not fit waits for the next batch."""
        order = np.random.default_rng((self.seed, epoch, turn)).permutation(len(self._labels))
        waiting: list[int] = []
        position = 0
        while True:
            batch: list[int] = []
            cases: set[int] = set()
            captions: set[int] = set()
            still_waiting: list[int] = []
            queue = iter(waiting)
            while len(batch) < self._joint_size:
                index = next(queue, -1)
                if index < 0:
                    if position == len(order):
                        return
                    index = int(order[position])
                    position += 1
                case, caption = self._labels[index]
                if case in cases or caption in captions:
                    still_waiting.append(index)
                    continue
                batch.append(index)
                cases.add(case)
                captions.add(caption)
            waiting = still_waiting + list(queue)
            yield batch
