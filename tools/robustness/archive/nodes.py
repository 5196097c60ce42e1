"""A Ray of two nodes on this machine's loopback, one of which can be switched off."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medclipsam_monai.archive.cluster import require_ray
from tools.robustness.archive.bench import command_line, kill_all

_PROCESSORS = 4  # of each node, as Ray counts them: either does all stages
_STORE = 200 << 20  # bytes of each node's object store


@dataclass
class TwoNodes:
    """A head that stays, and a node that comes and goes.

    Attributes:
        cluster: Ray's own helper.
        variables: of the second node's environment.
        node: the second node.
    """

    cluster: Any
    variables: Mapping[str, str]
    node: Any = None

    @property
    def address(self) -> str:
        """HOST:PORT of the head."""
        return str(self.cluster.address)

    def switch_off(self) -> int:
        """Kill the second node's processes, its workers too, all at once; how many they were."""
        (raylet,) = self.node.all_processes["raylet"]
        numbers = descendants(raylet.process.pid)
        kill_all(numbers)
        self.cluster.remove_node(self.node, allow_graceful=False)
        return len(numbers)

    def switch_on(self) -> None:
        """A second node again."""
        own = {"env_vars": dict(self.variables)}
        self.node = self.cluster.add_node(num_cpus=_PROCESSORS, object_store_memory=_STORE, **own)
        self.cluster.wait_for_nodes()


@contextlib.contextmanager
def two_nodes(folder: Path, **variables: str) -> Iterator[TwoNodes]:
    """Start both; a run joins them by the address, and by the token that is meanwhile in this process's environment.

    Args:
        folder: for Ray's own files, with a short name: the sockets lie in it.
        variables: of the second node's environment.
    """
    before = dict(os.environ)
    folder.mkdir(parents=True)
    (folder / "ray").mkdir()
    os.environ["RAY_TMPDIR"] = str(folder)  # Ray's helper writes the address of its cluster there
    require_ray(alone=True)
    from ray.cluster_utils import Cluster

    head = {"num_cpus": _PROCESSORS, "object_store_memory": _STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes = TwoNodes(cluster, variables)
        nodes.switch_on()
        yield nodes
    finally:
        cluster.shutdown()
        os.environ.clear()
        os.environ.update(before)


def descendants(parent: int) -> dict[int, str]:
    """A process, those that it started, and those that they did: number -> command line."""
    parents, titles = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            number = int(place.name)
            parents[number] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            titles[number] = command_line(place)
    found: dict[int, str] = {}
    fresh = {parent} & titles.keys()
    while fresh:
        found |= {number: titles[number] for number in fresh}
        fresh = {number for number, above in parents.items() if above in fresh and number in titles}
    return found
