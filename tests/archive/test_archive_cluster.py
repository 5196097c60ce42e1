"""A Ray of our own: where its files are, what of a killed driver's is removed, and one that does not start."""

from __future__ import annotations

import os
import tempfile
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
