"""What tests of files from elsewhere share: a payload that would leave a mark, and the one line of a refusal."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from medclipsam_monai.base.errors import InputError


class Touch:
    """Makes a file where its pickle is run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def refuses(make: Callable[[], object]) -> str:
    """The one line by which something is refused."""
    with pytest.raises(InputError) as caught:
        make()
    line = str(caught.value)
    assert "\n" not in line and len(line) < 1500
    return line
