"""What an archive asks of the place that its outputs go to."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from medclipsam_monai.io.outputs import ImageOutputs

FOLDER = "table"
"""The folder of the table's files in it."""

PARTS = "part-*.parquet"
"""How they are called."""


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
