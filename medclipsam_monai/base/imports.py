"""Imports of large libraries without what they bring along."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_FOR_TRAINING = ("ignite", "matplotlib", "mlflow", "pandas", "scipy.signal", "skimage", "sklearn", "tensorboard",
                 "torchvision", "transformers")  # fmt: skip
"""What MONAI takes if it is there, for handlers, figures, filters and networks that no segmentation by text uses."""


class _NotInstalled(MetaPathFinder):
    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if any(f"{name}.".startswith(f"{one}.") for one in self._names):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """A block in which some packages, or parts of one, cannot be imported, as if they were not there.

    What is imported stays. It holds for all threads, so it is for the start of a program.
    """
    finder = _NotInstalled(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def import_monai_alone() -> None:
    """Import MONAI without its optional packages for training, in two thirds of the time.

    Each of MONAI's parts that wants one says that it is not installed, for as long as the process lives: for programs
    that segment and end. The packages themselves can be imported afterwards.
    """
    with without(*_FOR_TRAINING):
        import monai  # noqa: F401
