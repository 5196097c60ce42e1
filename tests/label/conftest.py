"""The tests of the MONAI Label app run in an environment of their own, see scripts/test_label.sh."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = [] if find_spec("monailabel") else ["test_*.py"]

if find_spec("monailabel"):
    from label_server import LabelServer, write_phantoms


def _served(folder: Path) -> Iterator[LabelServer]:
    write_phantoms(folder / "studies", 6)
    started = LabelServer(folder / "app", folder / "studies", preset="demo")
    yield started
    started.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelServer]:
    """A server with six phantoms, and before any training; other modules may have asked it before."""
    yield from _served(tmp_path_factory.mktemp("label"))


@pytest.fixture(scope="module")
def fresh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelServer]:
    """The same for one module alone, whose classes have the numbers of the order in which it asks for them."""
    yield from _served(tmp_path_factory.mktemp("label"))
