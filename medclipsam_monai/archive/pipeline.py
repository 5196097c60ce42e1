"""The stages of an archive as operators of Ray Data: each in processes of its own, all at work at once."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from medclipsam_monai.base.imports import import_monai_alone

if TYPE_CHECKING:
    from medclipsam_monai.archive.stages import Networks, Reading, Work, Writing

_COLUMN = "work"
_MOST_BLOCKS = 2000  # what waits costs the driver time with every step
_LEAST_BLOCKS = 8  # a worker, so that all have something to do until the end
_TRIES_AGAIN = 2  # of images whose process died; Ray would try for ever


@dataclass(frozen=True)
class Plan:
    """Who does what.

    Attributes:
        workers: processes that hold the networks.
        threads: of each, on CPUs.
        readers: processes that read, and as many that write.
        batch: pictures that may go through the networks together.
        gpus: whether each worker has a GPU.
        together: images that go from stage to stage as one block, if there are many: the driver takes 20 ms of a
            processor for a block. They are lost together where a process dies.
    """

    workers: int
    threads: int
    readers: int
    batch: int
    gpus: bool
    together: int = 8

    def block(self, count: int) -> int:
        """Of so many images, how many go as one block."""
        wanted = min(self.together, count // (_LEAST_BLOCKS * self.workers))
        return max(wanted, -(-count // _MOST_BLOCKS), 1)

    @property
    def processors(self) -> int:
        """How many it needs, as Ray counts them."""
        return 2 * self.readers + (0 if self.gpus else self.workers)


def run_stages(
    ray: Any, works: Sequence[Work], reading: Reading, make: Callable[[], Networks], writing: Writing, plan: Plan
) -> Generator[Work, None, None]:
    """Take images through all stages.

    Args:
        ray: see `joined`.
        works: the images.
        reading: the first stage.
        make: makes the second one, once a worker.
        writing: the last stage.
        plan: who does what.

    Yields:
        The images as they are done, in any order. Those are missing whose process died, with others of their block.
        Close it before Ray ends.
    """
    if not works:
        return
    size = plan.block(len(works))
    blocks = [_table(works[start : start + size]) for start in range(0, len(works), size)]
    whole: dict[str, Any] = {"batch_format": "pyarrow", "zero_copy_batch": True}
    data = ray.data.from_arrow(blocks)
    tasks = {"batch_size": 1, "num_cpus": 1, "concurrency": plan.readers, "max_retries": _TRIES_AGAIN, **whole}
    data = data.map_batches(_each, fn_args=(pickle.dumps(reading),), **tasks)
    need: dict[str, Any] = {"num_gpus": 1} if plan.gpus else {"num_cpus": 1}
    data = data.map_batches(
        _Worker,
        fn_constructor_args=(pickle.dumps(make), plan.threads),
        batch_size=plan.batch,
        concurrency=plan.workers,
        max_restarts=-1,
        max_task_retries=_TRIES_AGAIN,
        **need,
        **whole,
    )
    data = data.map_batches(_each, fn_args=(pickle.dumps(writing),), **tasks)
    for batch in data.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from _works(batch)


class _Worker:
    """Holds the networks, in an actor of Ray's."""

    def __init__(self, make: bytes, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._networks: Networks = _unpacked(make)()

    def __call__(self, batch: pa.Table) -> pa.Table:
        return _table(self._networks(_works(batch)))


def _each(batch: pa.Table, stage: bytes) -> pa.Table:
    one = _unpacked(stage)
    return _table([one(work) for work in _works(batch)])


@cache
def _unpacked(packed: bytes) -> Callable[..., Any]:
    """A stage, once a process; MONAI comes in alone, as in the other commands, which is quicker."""
    import_monai_alone()
    stage: Callable[..., Any] = pickle.loads(packed)
    return stage


def _table(works: Sequence[Work]) -> pa.Table:
    """Images on their way between two processes."""
    packed = [pickle.dumps(work, protocol=pickle.HIGHEST_PROTOCOL) for work in works]
    return pa.table({_COLUMN: pa.array(packed, pa.large_binary())})


def _works(batch: pa.Table) -> list[Work]:
    return [pickle.loads(cell.as_buffer()) for cell in batch.column(_COLUMN)]
