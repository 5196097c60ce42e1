"""The tests of the MONAI Label app run in an environment of their own, see scripts/test_label.sh."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

collect_ignore_glob = [] if find_spec("monailabel") else ["test_*.py"]

if find_spec("monailabel"):
    from label_server import LabelServer, write_phantoms


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory):
    """A server with six phantoms, and before any training."""
    folder = tmp_path_factory.mktemp("label")
    write_phantoms(folder / "studies", 6)
    started = LabelServer(folder / "app", folder / "studies", preset="demo")
    yield started
    started.stop()
