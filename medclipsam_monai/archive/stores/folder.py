"""A folder of this machine, or one that is mounted on it, as the place for an archive's outputs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from medclipsam_monai.archive.stores.store import part_names
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import cannot_write, check_writable, clear_abandoned, write_atomically
from medclipsam_monai.base.interrupts import tidying
from medclipsam_monai.io.outputs import ImageOutputs, clear_interrupted, open_outputs
from medclipsam_monai.io.tables.parquet import TABLE_FOLDER


@dataclass(frozen=True)
class FolderStore:
    """See `Store`.

    Attributes:
        folder: absolute.
    """

    folder: Path

    @property
    def shown(self) -> str:
        """See `Store`."""
        return str(self.folder)

    def prepare(self) -> None:
        """See `Store`."""
        check_writable(self.folder)
        clear_interrupted(self.folder)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """See `Store`."""
        table = self.folder / TABLE_FOLDER
        lock = FileLock(table / ".medclipsam-archive.lock")
        with tidying():
            try:
                table.mkdir(parents=True, exist_ok=True)
                lock.acquire(blocking=False)
            except Timeout:
                raise InputError(f"{self.folder}: another run of archive writes to it; wait for its end") from None
            except OSError as error:
                raise cannot_write(table, error) from error
            try:
                clear_abandoned(table)
                yield
            finally:
                with contextlib.suppress(OSError):
                    Path(lock.lock_file).unlink()
                lock.release()

    def outputs(self, stem: str, names: Collection[str]) -> AbstractContextManager[ImageOutputs]:
        """See `Store`."""
        return open_outputs(self.folder, stem)

    def holds(self, folder: Path) -> bool:
        """See `Store`."""
        try:
            return folder.samefile(self.folder)
        except OSError:
            return False

    def parts(self) -> list[str]:
        """See `Store`."""
        return part_names(path.name for path in (self.folder / TABLE_FOLDER).iterdir())

    def read_part(self, name: str) -> Path:
        """See `Store`."""
        return self.folder / TABLE_FOLDER / name

    def write_part(self, name: str, write: Callable[[Path], object]) -> None:
        """See `Store`."""
        write_atomically(self.folder / TABLE_FOLDER / name, write)

    def remove_part(self, name: str) -> None:
        """See `Store`."""
        (self.folder / TABLE_FOLDER / name).unlink(missing_ok=True)
