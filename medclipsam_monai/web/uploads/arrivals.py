"""What is sent: how much may be on its way, where it lies until a visit has it, and when it is removed."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError

_KEPT_FREE = 2**30, 0.05
"""Uploads leave so many bytes of the disk free, or so large a share of a small one."""
_LONGEST = 3600.0  # seconds of an upload for which others that ended meanwhile are kept


class Arrivals:
    """The folder into which a server puts what is sent; two visitors may send the same.

    Args:
        folder: made by this; the server's own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._begun: dict[object, float] = {}
        self._announced: dict[object, int] = {}

    @contextlib.contextmanager
    def one(self, size: int) -> Iterator[None]:
        """A block in which something is on its way.

        Args:
            size: bytes that are announced, or the most that may come.

        Raises:
            InputError: the disk has no room for it, nor for what else is on its way.
        """
        disk, (most, share) = shutil.disk_usage(self.folder), _KEPT_FREE
        if disk.free - sum(self._announced.values()) - size < min(most, share * disk.total):
            raise InputError("this server's disk is nearly full; try again later")
        key = object()
        self._begun[key], self._announced[key] = time.time(), size
        try:
            yield
        finally:
            del self._begun[key], self._announced[key]

    def found(self, sent: object) -> list[Path]:
        """The files that a message of the page names.

        Args:
            sent: a file as Gradio describes it, several, or None.

        Raises:
            InputError: a file that did not arrive here.
        """
        given: Sequence[Any] = sent if isinstance(sent, list) else [] if sent is None else [sent]
        return [self._checked(one) for one in given]

    def _checked(self, one: Any) -> Path:
        path = one.get("path") if isinstance(one, dict) else None
        if not isinstance(path, str) or not self.holds(path):
            raise InputError("the upload did not arrive whole; choose the file again")
        return Path(path)

    def holds(self, path: object) -> bool:
        """Whether a path is one under which something arrives here; nothing is looked up."""
        if not isinstance(path, str) or "\0" in path:
            return False
        parts = Path(path).parts
        return Path(path).is_relative_to(self.folder) and ".." not in parts and len(parts) > len(self.folder.parts)

    def remove(self, seconds: float) -> None:
        """Remove what arrived so many seconds ago, but nothing that came since an upload began that still goes on."""
        now = time.time()
        going = [begun for begun in self._begun.copy().values() if now - begun < _LONGEST]
        before = min([now - seconds, *going])
        for path in self.folder.rglob("*"):
            with contextlib.suppress(OSError):  # gone meanwhile, or not empty
                if path.stat().st_ctime < before:  # when it got its name, however long it was written
                    path.rmdir() if path.is_dir() else path.unlink()
