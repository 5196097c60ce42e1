"""A place that pyarrow's file systems reach by a URL, such as ``s3://bucket/folder``, for an archive's outputs.

Files are made on this machine and sent whole. Where a store shows what is sent only once all of it is there, as object
stores do, it goes to its name at once; elsewhere it goes to a hidden name and is moved. A store has no locks: that one
run at a time writes to it is the user's to see to.
"""

from __future__ import annotations

import contextlib
import io
import secrets
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pyarrow import fs

from medclipsam_monai.archive.stores.sent import sent_outputs
from medclipsam_monai.archive.stores.store import part_names
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import PREFIX
from medclipsam_monai.io.outputs import ImageOutputs
from medclipsam_monai.io.tables.parquet import TABLE_FOLDER

_WHOLE_AT_ONCE = ("s3", "gcs", "abfs")
_HIDDEN = f"{PREFIX}parts"  # a folder for what is on its way
_ONE_REQUEST = "allow_delayed_open=true"  # a small file in one request, not in three
_AS_IT_IS: dict[str, Any] = {"compression": None}  # else pyarrow packs what is called .gz once more
_BLOCK = 8 << 20  # bytes that are asked for at a time
_MOST_LETTERS = 300  # of a file system's own words


@dataclass(frozen=True)
class RemoteStore:
    """See `Store`.

    Attributes:
        url: of the place.
        shown: what to call it in messages.
    """

    url: str
    shown: str

    def prepare(self) -> None:
        """See `Store`: whether a file can be made and removed there."""
        _opened(self.url)
        if self._moves:
            with self._told("cannot write in the destination"):
                self._system.create_dir(self._at(TABLE_FOLDER), recursive=True)
                with contextlib.suppress(FileNotFoundError):
                    self._system.delete_dir(self._at(_HIDDEN))
        name = f"{PREFIX}{secrets.token_hex(6)}"
        self.send_bytes(b"", name)
        self.remove(name)

    def alone(self) -> AbstractContextManager[None]:
        """See `Store`; a store cannot tell."""
        return contextlib.nullcontext()

    def outputs(self, stem: str, names: Collection[str]) -> AbstractContextManager[ImageOutputs]:
        """See `Store`."""
        return sent_outputs(self, stem, names)

    def holds(self, folder: Path) -> bool:
        """See `Store`."""
        return False

    def parts(self) -> list[str]:
        """See `Store`."""
        with self._told("cannot list the table"):
            there = self._system.get_file_info(fs.FileSelector(self._at(TABLE_FOLDER), allow_not_found=True))
        return part_names(one.base_name for one in there)

    def read_part(self, name: str) -> Any:
        """See `Store`."""
        return io.BytesIO(b"".join(self.blocks(f"{TABLE_FOLDER}/{name}")))

    def write_part(self, name: str, write: Callable[[Path], object]) -> None:
        """See `Store`."""
        with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
            made = Path(folder, name)
            write(made)
            self.send(made, f"{TABLE_FOLDER}/{name}")

    def remove_part(self, name: str) -> None:
        """See `Store`."""
        self.remove(f"{TABLE_FOLDER}/{name}")

    def sizes(self, names: Collection[str]) -> dict[str, int]:
        """Bytes of those of some files that are there."""
        listed = list(names)
        with self._told("cannot look for files"):
            infos = self._system.get_file_info([self._at(name) for name in listed])
        there = zip(listed, infos, strict=True)
        return {name: info.size or 0 for name, info in there if info.type is fs.FileType.File}

    def blocks(self, name: str) -> Iterator[bytes]:
        """A file's bytes, a block at a time."""
        with self._told(f"cannot read {name}"), self._system.open_input_stream(self._at(name), **_AS_IT_IS) as stream:
            while block := stream.read(_BLOCK):
                yield block

    def send(self, path: Path, name: str) -> None:
        """Put a file of this machine there, in place of one of that name.

        Raises:
            InputError: it cannot be written.
        """
        # All of it is read first: a stream that is left half-way would be shown as a whole file.
        self.send_bytes(path.read_bytes(), name)

    def send_bytes(self, content: bytes, name: str) -> None:
        """See `send`."""
        with self._told(f"cannot write {name}"):
            if not self._moves:
                self._write(content, self._at(name))
                return
            self._system.create_dir(self._at(_HIDDEN), recursive=True)
            hidden = self._at(f"{_HIDDEN}/{secrets.token_hex(8)}")
            self._write(content, hidden)
            with contextlib.suppress(FileNotFoundError):  # not every store replaces what is there
                self._system.delete_file(self._at(name))
            self._system.move(hidden, self._at(name))

    def _write(self, content: bytes, path: str) -> None:
        with self._system.open_output_stream(path, **_AS_IT_IS) as stream:
            stream.write(content)

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is none the less gone."""
        with self._told(f"cannot remove {name}"), contextlib.suppress(FileNotFoundError):
            self._system.delete_file(self._at(name))

    @property
    def _system(self) -> Any:
        return _opened(self.url)[0]

    @property
    def _moves(self) -> bool:
        """Whether a file is seen before all of it is there, so that it goes to a hidden name first."""
        return self._system.type_name not in _WHOLE_AT_ONCE

    def _at(self, name: str) -> str:
        return f"{_opened(self.url)[1].rstrip('/')}/{name}"

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """One line for what a file system raises, which may be anything: there are many, by many hands."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            words = " ".join(str(error).split())[:_MOST_LETTERS] or type(error).__name__
            raise InputError(f"{self.shown}: {what}: {words}") from error


@cache
def _opened(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it, once a process.

    Raises:
        InputError: pyarrow takes no such URL, or cannot reach what it needs for it.
    """
    try:
        return _from(url)
    except Exception as error:  # as in `_told`
        words = " ".join(str(error).split())[:_MOST_LETTERS]
        kinds = "s3://, gs://, abfs://, hdfs:// and fsspec+...://"
        raise InputError(f"--output: {words}; pyarrow takes {kinds}") from error


def _from(url: str) -> tuple[Any, str]:
    if url.startswith("s3:"):
        with contextlib.suppress(ValueError):  # an older pyarrow knows no such option
            return fs.FileSystem.from_uri(f"{url}{'&' if '?' in url else '?'}{_ONE_REQUEST}")
    return fs.FileSystem.from_uri(url)
