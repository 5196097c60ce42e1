"""Zip files that a browser sends: looked at before anything is unpacked, and refused where they are not plain files."""

from __future__ import annotations

import io
import shutil
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import size_text

MOST_FILES = 20_000
MOST_TIMES = 100
"""How many times as large as the zip file its content may be, where that is more than `SMALL`."""
SMALL = 64 * 1024**2
_ENCRYPTED = 0x1
_MOST_LISTED = 32 * 1024**2  # bytes of the list of what is in a zip file, which is read whole before it is counted


def unpack_zip(archive: Path, folder: Path, most_bytes: int) -> None:
    """Unpack the files of a zip file, without the hidden ones.

    Args:
        archive: the zip file.
        folder: to unpack into, which must be there.
        most_bytes: of all files together.

    Raises:
        InputError: no zip file, a damaged one, one with a password, with paths or links to elsewhere, or with too much.
    """
    name = archive.name
    try:
        with _Opened(io.FileIO(archive)) as opened, zipfile.ZipFile(opened) as packed:
            entries = [entry for entry in packed.infolist() if not entry.is_dir()]
            _check(entries, name, archive.stat().st_size, min(most_bytes, shutil.disk_usage(folder).free))
            for entry in entries:
                if not _is_hidden(entry):
                    _write(packed, entry, folder / _place(entry, name))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: is damaged, or no zip file that can be read; pack it again") from error


class _Opened(io.BufferedReader):
    """A zip file whose list of files is refused by its size: millions of entries take minutes and gigabytes to read."""

    def read(self, size: int | None = -1) -> bytes:
        """See `io.BufferedReader`.

        Raises:
            InputError: more is read at once than the list of a zip file that is unpacked takes.
        """
        if size is not None and size > _MOST_LISTED:
            raise InputError(f"{Path(self.name).name}: lists too many files, at most {MOST_FILES:,} are unpacked")
        return super().read(size)


def _check(entries: Sequence[zipfile.ZipInfo], name: str, packed_bytes: int, most_bytes: int) -> None:
    if any(entry.flag_bits & _ENCRYPTED for entry in entries):
        raise InputError(f"{name}: is protected by a password; unpack it and open its files")
    if len(entries) > MOST_FILES:
        raise InputError(f"{name}: holds {len(entries):,} files, at most {MOST_FILES:,} are unpacked")
    for entry in entries:
        _place(entry, name)
    total = sum(entry.file_size for entry in entries)
    if total > most_bytes or (total > SMALL and total > MOST_TIMES * packed_bytes):
        raise InputError(
            f"{name}: holds {size_text(total)} in {size_text(packed_bytes)}; at most {size_text(most_bytes)} and "
            f"{MOST_TIMES} times its own size are unpacked"
        )


def _place(entry: zipfile.ZipInfo, name: str) -> PurePosixPath:
    """Where an entry goes below the folder."""
    place = PurePosixPath(entry.filename)
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise InputError(f"{name}: holds a link; pack the files themselves")
    if place.is_absolute() or ".." in place.parts or any("\\" in part or ":" in part for part in place.parts):
        raise InputError(f"{name}: holds a path that leads out of it; pack the files by their plain names")
    return place


def _is_hidden(entry: zipfile.ZipInfo) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(entry.filename).parts)


def _write(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with packed.open(entry) as source, path.open("xb") as target:
        shutil.copyfileobj(source, target, 2**20)
