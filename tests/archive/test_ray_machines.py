"""Machines that lack the memory, or have another version of this package: one line before the first image."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from medclipsam_monai.archive import machines
from medclipsam_monai.archive.machines import check_cluster, check_memory_here, memory_here, memory_of
from medclipsam_monai.archive.pipeline import Plan
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.tables.parquet import TABLE_FOLDER
from medclipsam_monai.version import __version__
from medclipsam_monai.weights.registry import resolve
from tools.robustness.archive.nodes import two_nodes

ROOT = Path(__file__).parents[2]
GB = 10**9


def plan(workers=2, gpus=False):
    return Plan(workers, threads=1, readers=1, batch=1, gpus=gpus)


def test_networks_take_the_bytes_of_their_weights():
    demo = [resolve("demo/clip"), resolve("demo/sam")]
    sizes = [file.stat().st_size for folder in demo for file in folder.glob("*.safetensors")]
    assert len(sizes) == 2 and memory_of(demo) == sum(sizes)


def test_the_memory_of_this_machine_is_what_the_system_says():
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < memory_here() < total


def test_a_container_has_what_its_limit_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr(machines, "_GROUP", tmp_path)
    for name, text in (("max", "5000000"), ("current", "4000000"), ("stat", "anon 1\ninactive_file 500000\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert memory_here() == 1_500_000
    (tmp_path / "memory.max").write_text("max")
    assert memory_here() > 1_500_000


def test_networks_that_the_memory_cannot_hold_are_one_line(monkeypatch):
    monkeypatch.setattr(machines, "memory_here", lambda: 5 * GB)
    check_memory_here(2 * GB, plan(2))
    with pytest.raises(InputError) as error:
        check_memory_here(2 * GB, plan(3))
    assert str(error.value) == (
        "the networks of 3 workers need at least 6.0 GB, this machine has left 5.0 GB; "
        "give fewer --workers or smaller weights"
    )
    with pytest.raises(InputError, match=r"of a worker need at least 6.0 GB.*has left 5.0 GB; choose smaller weights"):
        check_memory_here(6 * GB, plan(1))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda k: SimpleNamespace(total_memory=(3 - k) * GB))
    check_memory_here(2 * GB, plan(4, gpus=True))
    with pytest.raises(InputError, match=r"a GPU of this machine has 2.0 GB;"):
        check_memory_here(int(2.5 * GB), plan(1, gpus=True))


class Cluster:
    """As much of Ray as says which machines there are."""

    def __init__(self, *gigabytes):
        self._memory = gigabytes

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 4.0, "memory": size * GB}} for size in self._memory]


def test_a_cluster_holds_what_each_machine_holds(monkeypatch):
    monkeypatch.setattr(machines, "_versions", lambda ray, nodes: [__version__] * len(nodes))
    check_cluster(Cluster(5, 3), 2 * GB, plan(3))
    with pytest.raises(InputError, match=r"of 4 workers need at least 8.0 GB, the cluster has 8.0 GB;"):
        check_cluster(Cluster(5, 3), 2 * GB, plan(4))


RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listens on the loopback alone
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
}


@pytest.fixture
def started(tmp_path):
    """Start a machine of a Ray on the loopback, in a group of processes of its own; its sockets need a short path."""
    begun = []
    folder = tempfile.TemporaryDirectory(prefix="r-", ignore_cleanup_errors=True)

    def call(path, *words):
        variables = {**os.environ, **RAY, "PYTHONPATH": str(path)}
        words = (*words, f"--temp-dir={folder.name}", "--node-ip-address=127.0.0.1", "--include-dashboard=false")
        command = [Path(sys.executable).parent / "ray", "start", "--block", "--num-cpus=3", *words]
        log = (tmp_path / "ray.log").open("ab")
        begun.append(
            subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=variables, start_new_session=True)
        )

    yield call
    for process in begun:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    folder.cleanup()


def wait_until_heard(address, seconds=120):
    host, _, port = address.partition(":")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.2)
    pytest.fail("the Ray did not start")


def other_version(folder, version):
    """A place where this package has another version, or is none."""
    fake = folder / "medclipsam_monai"
    fake.mkdir(parents=True)
    (fake / "__init__.py").write_text("" if version else "raise ImportError\n")
    (fake / "version.py").write_text(f"__version__ = {version!r}\n")
    return folder


def refused(pictures, folder, address, variables, other):
    """A run that joins is refused by one line before its first image."""
    words = ["archive", pictures, "-o", folder / "out", "-t", "lungs", "--preset", "demo", "--device", "cpu"]
    command = [sys.executable, "-m", "medclipsam_monai", *map(str, words), "--ray", address]
    variables = {**os.environ, **variables, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    has = f"has medclipsam {other}" if other else "has no medclipsam"
    told = f"medclipsam: the machine 127.0.0.1 of the Ray {has}, this one {__version__}; install one version on all"
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", f"{told} of them\n")
    assert [path.name for path in (folder / "out").rglob("*")] == [TABLE_FOLDER]


@pytest.mark.parametrize("other", ["0.0.1", None])
def test_a_machine_with_another_version_is_refused_before_the_first_image(started, pictures, tmp_path, other):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    started(other_version(tmp_path / "elsewhere", other), "--head", f"--port={address.rpartition(':')[2]}")
    wait_until_heard(address)
    refused(pictures, tmp_path, address, RAY, other)


class Dying:
    """As much of Ray as asks two machines, the first of which does not answer."""

    util = SimpleNamespace(scheduling_strategies=SimpleNamespace(NodeAffinitySchedulingStrategy=lambda *_, **__: None))

    def __init__(self, alive: bool) -> None:
        self._alive, self._asked = alive, 0

    def remote(self, **_):
        return lambda told: SimpleNamespace(options=lambda scheduling_strategy: SimpleNamespace(remote=lambda: told))

    def get(self, told, timeout):
        self._asked += 1
        if self._asked == 1:
            raise RuntimeError("it died")
        return told()

    def nodes(self):
        return [{"NodeID": "a" * 56, "Alive": self._alive}, {"NodeID": "b" * 56, "Alive": True}]


def test_a_machine_that_dies_while_it_is_asked_is_left_out_and_one_that_is_silent_is_refused():
    assert machines._versions(Dying(alive=False), Dying(False).nodes()) == [None, __version__]
    with pytest.raises(InputError, match="does not answer within 120 seconds"):
        machines._versions(Dying(alive=True), Dying(True).nodes())


def test_one_machine_of_two_with_another_version_is_found(pictures, tmp_path):
    elsewhere = other_version(tmp_path / "elsewhere", "0.0.1")
    with (
        tempfile.TemporaryDirectory(prefix="r-", ignore_cleanup_errors=True) as place,
        two_nodes(Path(place) / "n", PYTHONPATH=str(elsewhere)) as nodes,
    ):
        refused(pictures, tmp_path, nodes.address, {}, "0.0.1")
