"""A Ray of our own: where its files are, what of a killed driver's is removed, and one that does not start."""

from __future__ import annotations

import os
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from medclipsam_monai.archive import cluster
from medclipsam_monai.base.errors import InputError


class FakeRay:
    """Starts from some try on."""

    def __init__(self, failures: int) -> None:
        self.failures, self.tries, self.ended = failures, 0, 0

    def init(self, **settings: object) -> None:
        self.tries += 1
        if self.tries <= self.failures:
            raise Exception("timed out\nduring startup")

    def shutdown(self) -> None:
        self.ended += 1


def test_a_ray_that_does_not_start_is_tried_again_and_what_is_left_of_it_ended():
    ray = FakeRay(failures=2)
    cluster._init(ray, {}, None)
    assert (ray.tries, ray.ended) == (3, 2)


def test_a_ray_that_never_starts_is_one_line_and_an_address_is_tried_once():
    with pytest.raises(InputError, match=r"^Ray did not start on this machine; .*: timed out during startup$"):
        cluster._init(FakeRay(failures=9), {}, None)
    ray = FakeRay(failures=9)
    with pytest.raises(InputError, match="no Ray at a:1"):
        cluster._init(ray, {}, "a:1")
    assert ray.tries == 1


@pytest.mark.parametrize("address", ["here", ":80", "a/b:80", "a:0", "a:65536", ".:80", "a..b:80", f"{'a' * 64}:80"])
def test_an_address_that_is_none_is_one_line(address):
    with pytest.raises(InputError) as caught:
        cluster.check_address(address)
    assert str(caught.value) == f"--ray must be HOST:PORT of a cluster's head, got {address!r}"


@pytest.fixture
def temporary(monkeypatch):
    """A folder with a name as short as that of the system's own."""
    with tempfile.TemporaryDirectory(prefix="m-", dir="/tmp") as place:
        monkeypatch.setattr(tempfile, "tempdir", place)
        yield Path(place)


@pytest.mark.skipif(os.name != "posix", reason="sockets have names in the file system there")
def test_the_folder_of_a_killed_driver_is_removed_and_no_other(temporary):
    def folder(name: str, *files: str) -> Path:
        made = temporary / name
        made.mkdir()
        for file in files:
            (made / file).touch()
        os.utime(made, (0, 0))
        return made

    killed = folder("medclipsam-ray-killed", "driver.lock", "pixels")
    others = {folder("medclipsam-ray-unlocked", "pixels"), folder("medclipsam-web", "driver.lock")}
    with cluster._own_folder() as first:
        os.utime(first, (0, 0))
        assert not killed.exists()
        with cluster._own_folder() as second:
            assert set(temporary.iterdir()) == others | {Path(first), Path(second)}
    assert set(temporary.iterdir()) == others


@pytest.mark.skipif(os.name != "posix", reason="sockets have names in the file system there")
def test_a_folder_for_temporary_files_with_a_long_name_is_passed_by(temporary, monkeypatch):
    deep = temporary / ("x" * 60)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with cluster._own_folder() as folder:
        assert Path(folder).parent == Path("/tmp")
        assert Path(folder).stat().st_mode & 0o777 == 0o700


def test_a_folder_for_temporary_files_without_room_is_one_line(temporary, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Disk", (), {"free": 64_000}))
    with pytest.raises(InputError, match="has 64 kB left, and Ray needs 100 MB for its files; make room there"):
        cluster._own_folder().__enter__()
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (b"\0\0\x12\4\0\0\0\0\0", None),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what listens there is something else"),
        (b"\0", "what listens there is something else"),
        (None, "timed out"),
    ],
    ids=["gRPC", "HTTP/1.1", "short", "silent"],
)
def test_what_listens_at_an_address_is_asked_whether_it_can_be_a_ray(monkeypatch, answer, line):
    monkeypatch.setattr(cluster, "_PATIENCE", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as thread:

        def serve() -> None:
            there, _ = server.accept()
            with there:
                if answer is not None:
                    there.sendall(answer)
                    there.shutdown(socket.SHUT_WR)
                while there.recv(1000):
                    pass

        thread.submit(serve)
        address = f"127.0.0.1:{server.getsockname()[1]}"
        if line is None:
            cluster.check_address(address)
        else:
            with pytest.raises(InputError, match=f"^no Ray at {address}: {line}; leave --ray out"):
                cluster.check_address(address)
