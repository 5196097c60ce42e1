"""`import monai` without what is not asked of it, for a command that ends with its first answer.

MONAI loads each of its modules when it is imported, twice, and with them every optional package that it finds: pandas,
scikit-learn, tensorboard, matplotlib and more, of which the way from a text to a mask uses none. For a service or a
notebook that is nothing; of ``medclipsam segment`` on one picture it was the greater part.
"""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_NOT_ASKED_FOR = (
    "ignite",
    "itk",
    "matplotlib",
    "pandas",
    "scipy.signal",
    "skimage",
    "sklearn",
    "tensorboard",
    "timm",
    "torchvision",
    "transformers",
)


def import_monai_quickly() -> None:
    """Import what this package uses of MONAI, without its optional packages; where MONAI is loaded, nothing is done.

    In this process MONAI then does without them, as it does where they are not installed; everyone else imports them as
    ever, and MONAI's other modules load when they are imported by name.
    """
    if "monai" in sys.modules:
        return
    with _absent(_NOT_ASKED_FOR), _nothing_walked():
        import monai.apps  # first: MONAI's modules import each other in a circle, which is meant to begin here
        import monai.data
        import monai.inferers
        import monai.transforms  # noqa: F401


@contextmanager
def _absent(names: tuple[str, ...]) -> Iterator[None]:
    """A block in which these packages are as if not installed, those that are loaded already left alone."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: Python's own mark of such a package
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _nothing_walked() -> Iterator[None]:
    """A block in which MONAI finds no modules of its own to load: it walks over them by this function."""
    finder: Any = pkgutil
    walk = finder.walk_packages
    finder.walk_packages = lambda *_, **__: iter(())
    try:
        yield
    finally:
        finder.walk_packages = walk
