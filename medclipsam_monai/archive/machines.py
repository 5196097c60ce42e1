"""What the machines of an archive's run must have: memory for the networks, and one version of this package."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from medclipsam_monai.archive.pipeline import Plan
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import size_text
from medclipsam_monai.version import __version__
from medclipsam_monai.weights.registry import weight_bytes

_PATIENCE = 120.0  # seconds that a machine has to start a process and answer
_GROUP = Path("/sys/fs/cgroup")  # of the container, where there is one


def memory_of(weights: Iterable[str | Path]) -> int:
    """Bytes that networks take at the least: those of their weights.

    Raises:
        InputError: if there are no such weights.
    """
    return sum(weight_bytes(path) for path in weights)


def memory_here() -> int | None:
    """Bytes of memory that this machine, or the container, has left; None where the system does not tell."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
        return min([free, *_left_in_group()])
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _left_in_group() -> Iterator[int]:
    """What a limit of the container leaves; files that the system keeps in memory give way."""
    with contextlib.suppress(OSError, ValueError):
        most, taken = (int((_GROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        pairs = (line.split() for line in (_GROUP / "memory.stat").read_text().splitlines())
        yield most - taken + int(dict(pairs).get("inactive_file", 0))


def check_memory_here(need: int, plan: Plan) -> None:
    """Refuse networks that the memory of this machine, or of one of its GPUs, cannot hold.

    Args:
        need: bytes of them, see `memory_of`.
        plan: who does what.

    Raises:
        InputError: with what is needed and what is there.
    """
    left = memory_here()
    holders = 1 if plan.gpus else plan.workers  # on GPUs they pass through the machine's memory, one after the other
    if left is not None and need * holders > left:
        raise InputError(_too_large(need, holders, left, "this machine has left"))
    if plan.gpus:
        import torch

        # What is left of it would be told by a context on each, which takes some of it for as long as this runs.
        whole = min(torch.cuda.get_device_properties(k).total_memory for k in range(torch.cuda.device_count()))
        if need > whole:
            raise InputError(_too_large(need, 1, whole, "a GPU of this machine has"))


def _too_large(need: int, workers: int, there: int, where: str) -> str:
    holding = f"{workers} workers" if workers > 1 else "a worker"
    fewer = "give fewer --workers or smaller weights" if workers > 1 else "choose smaller weights"
    sizes = f"{size_text(need * workers)}, {where} {size_text(there)}"
    return f"the networks of {holding} need at least {sizes}; {fewer}"


def check_cluster(ray: Any, need: int, plan: Plan) -> None:
    """Refuse a cluster whose machines cannot hold the networks, or have another version of this package.

    Args:
        ray: see `joined`.
        need: bytes of the networks, see `memory_of`.
        plan: who does what.

    Raises:
        InputError: with the machine, what it has, and what is needed.
    """
    working = [node for node in ray.nodes() if node["Alive"] and any(map(node["Resources"].get, ("CPU", "GPU")))]
    memory = [int(node["Resources"].get("memory", 0)) for node in working]
    holding = sum(size // max(need, 1) for size in memory)
    if not plan.gpus and holding < plan.workers:
        raise InputError(_too_large(need, plan.workers, sum(memory), "the cluster has"))
    for node, version in zip(working, _versions(ray, working), strict=True):
        if version is not None and version != __version__:
            has = f"has medclipsam {version}" if version else "has no medclipsam"
            raise InputError(
                f"the machine {node['NodeManagerAddress']} of the Ray {has}, this one {__version__}; "
                "install one version on all of them"
            )


def _versions(ray: Any, nodes: Iterable[Mapping[str, Any]]) -> list[str | None]:
    """The version of this package on each machine: nothing where it is not installed, None of one that died since."""

    def told() -> str:  # inside a function, so that Ray sends it as it is: elsewhere this module may not be there
        try:
            from medclipsam_monai import version
        except ImportError:
            return ""
        return version.__version__

    task = ray.remote(num_cpus=0, max_retries=0)(told)
    on = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    there = {node["NodeID"]: on(node["NodeID"], soft=False) for node in nodes}
    asked = {name: task.options(scheduling_strategy=one).remote() for name, one in there.items()}
    end = time.monotonic() + _PATIENCE
    found: list[str | None] = []
    for name, answer in asked.items():
        try:
            found.append(ray.get(answer, timeout=max(end - time.monotonic(), 0)))
        except Exception as error:  # Ray's own kinds, and it has many
            if any(node["Alive"] for node in ray.nodes() if node["NodeID"] == name):
                raise InputError(f"a machine of the Ray does not answer within {_PATIENCE:g} seconds") from error
            found.append(None)
    return found
