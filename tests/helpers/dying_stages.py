"""Stages of an archive that Ray's processes can import: one ends its process at an image, the others do nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from medclipsam_monai.archive.stages import Work


@dataclass(frozen=True)
class Deadly:
    """A stage that ends its process, as the system does for want of memory, where it meets one image."""

    number: int | None = None

    def __call__(self, work: Work) -> Work:
        if work.number == self.number:
            os.kill(os.getpid(), signal.SIGKILL)
        return work


def nothing_found() -> Nothing:
    """Make networks that do nothing."""
    return Nothing()


class Nothing:
    """Those."""

    def __call__(self, works: Sequence[Work]) -> list[Work]:
        return list(works)
