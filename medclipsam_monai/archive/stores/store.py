"""What an archive asks of the place that its outputs go to."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from medclipsam_monai.io.outputs import ImageOutputs

_PART = re.compile(r"part-[0-9]{8}\.parquet")


def part_names(names: Iterable[str]) -> list[str]:
    """Those of some names that files of the table have, in the order they were written in."""
    return sorted(name for name in names if _PART.fullmatch(name))


def part_name(number: int) -> str:
    """How a file of the table is called."""
    return f"part-{number:08}.parquet"


class Store(Protocol):
    """A place for outputs; it is handed from process to process, so it holds no connection."""

    @property
    def shown(self) -> str:
        """What to call it in messages."""

    def prepare(self) -> None:
        """Make sure that it can be written, and tidy up what killed processes left there.

        Raises:
            InputError: it cannot be written.
        """

    def alone(self) -> AbstractContextManager[None]:
        """A block in which no other run writes to it, as far as it can tell.

        Raises:
            InputError: another one does.
        """

    def outputs(self, stem: str, names: Collection[str]) -> AbstractContextManager[ImageOutputs]:
        """A block in which the outputs of an image can be read and written, see `open_outputs`.

        Args:
            stem: how their names begin.
            names: those that may be written, all but the record's.

        Raises:
            InputError: they cannot be read or written; also at the end of the block.
        """

    def holds(self, folder: Path) -> bool:
        """Whether a folder of this machine is where the outputs are written."""

    def parts(self) -> list[str]:
        """Names of the table's files, in the order they were written in."""

    def read_part(self, name: str) -> Any:
        """A file of the table, as pyarrow reads it: a path or an open file."""

    def write_part(self, name: str, write: Callable[[Path], object]) -> None:
        """Let ``write`` make a file of the table; see `write_atomically`."""

    def remove_part(self, name: str) -> None:
        """Remove a file of the table."""
