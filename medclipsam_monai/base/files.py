"""Files that appear whole or not at all; their hashes and sizes.

A file is written beside its place under a hidden temporary name and then renamed. What cannot be written (a full disk,
a folder without permission) is one line for the user, and the temporary file is gone. A killed process leaves its
temporary files; their names hold its machine and number, so that `clear_abandoned` knows when nobody writes them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.interrupts import tidying

PREFIX = ".medclipsam-"
"""How every hidden file of this package in an output folder begins."""

_TEMPORARY = re.compile(re.escape(PREFIX) + r"([0-9a-f]{8})-(\d+)-[0-9a-f]{6}\.part.*")
_BLOCK = 1 << 20  # bytes read at a time while hashing
_OLD = 7 * 24 * 3600  # seconds; a number is used again some day, so the age counts as well
_PATIENCE = 5.0  # seconds; workers of a process that was killed may hold its lock for a moment


def temporary_name(suffix: str = "") -> str:
    """A hidden name that no other process takes: machine, process, a random part; under 50 bytes."""
    return f"{PREFIX}{_machine()}-{os.getpid()}-{secrets.token_hex(3)}.part{suffix}"


@cache
def _machine() -> str:
    """Where this process's number means something: the machine, and inside it the container."""
    try:
        numbers = os.readlink("/proc/self/ns/pid")
    except OSError:
        numbers = ""
    return hashlib.sha256(f"{socket.gethostname()} {numbers}".encode()).hexdigest()[:8]


def clear_abandoned(folder: Path) -> None:
    """Remove the temporary files and folders that killed processes left in a folder.

    Theirs are those whose process on this machine is gone, and those of any machine that nobody wrote for a week.
    """
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            match = _TEMPORARY.fullmatch(entry.name)
            if match is None:
                continue
            with contextlib.suppress(OSError):
                gone = match[1] == _machine() and not _is_alive(int(match[2]))
                if gone or time.time() - entry.stat(follow_symlinks=False).st_mtime > _OLD:
                    remove(Path(entry.path))


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # there os.kill would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it; what is not there or cannot be removed stays."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


class FolderClaim:
    """A folder in which one process at a time works; the system frees it when that process dies.

    Within one process a claim may be taken again, as a notebook does after an error.

    Args:
        folder: made if it is not there.
        work: what is done in it, for the message: "a training".
    """

    def __init__(self, folder: Path, work: str) -> None:
        self._folder, self._work = folder, work
        self._lock = FileLock(folder / f"{PREFIX}claim.lock", is_singleton=True)

    def take(self) -> None:
        """Claim the folder.

        Raises:
            InputError: another process has it, or it cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=_PATIENCE)
        except Timeout:
            raise InputError(
                f"{self._folder} is in use: {self._work} of another process runs there; wait for its end, or choose "
                "another folder"
            ) from None
        except OSError as error:
            raise InputError(f"cannot write in the output folder {self._folder}: {error.strerror or error}") from error

    def give_back(self) -> None:
        """Free the folder, and leave nothing in it."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                os.unlink(self._lock.lock_file)
            self._lock.release(force=True)

    def __enter__(self) -> FolderClaim:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        return open_file_sha256(file)


def open_file_sha256(file: BinaryIO) -> str:
    """SHA-256 of the bytes of a file that is open at its start, where it is left."""
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()


def check_beside_inputs(path: Path, inputs: Iterable[Path]) -> None:
    """Refuse to replace a file in an input's own folder, for it may be the user's: a mask drawn by hand.

    For writers without records, who cannot tell what they wrote themselves; in a folder of their own they may.

    Raises:
        InputError: the file is there, beside an input.
    """
    if os.path.lexists(path) and path.parent.resolve() in {other.resolve().parent for other in inputs}:
        raise InputError(f"{path} is in the way: it is there already, beside an input; choose another output folder")


def check_writable(folder: str | Path) -> None:
    """Make an output folder and a file in it, before hours of work end at its door.

    Raises:
        InputError: the name is empty, or nothing can be written there.
    """
    if not str(folder).strip():
        raise InputError("the output folder's name is empty")
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
    except FileExistsError:
        raise InputError(f"cannot write in the output folder {place}: it is a file") from None
    except OSError as error:
        raise InputError(f"cannot write in the output folder {place}: {error.strerror or error}") from error


def cannot_write(path: Path, error: OSError) -> InputError:
    """One line that says which file, where and why."""
    return InputError(f"cannot write {path.name} in {path.parent}: {error.strerror or error}")


def write_atomically(path: Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` make a file beside ``path`` and rename it into place.

    Args:
        path: where the file is to be; its folder is made if need be.
        write: writes to the path it is given, whose suffix is that of ``path``.

    Returns:
        ``path``.

    Raises:
        InputError: the folder or the file cannot be written.
    """
    suffix = next((end for end in (".seg.nrrd", ".nii.gz") if path.name.endswith(end)), path.suffix)
    part = path.with_name(temporary_name(suffix))
    with tidying():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(part)
            os.replace(part, path)
        except OSError as error:
            raise cannot_write(path, error) from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink()
    return path


def replace_folder(path: Path, fill: Callable[[Path], object]) -> Path:
    """Let ``fill`` make a folder beside ``path`` and rename it into place; what was there before is replaced whole.

    Args:
        path: where the folder is to be; the one above it is made if need be.
        fill: puts files into the empty folder it is given.

    Returns:
        ``path``.

    Raises:
        InputError: the path ends in no name ("."), or the folder cannot be written; what was there before is then
            still there.
    """
    if path.name in ("", ".."):
        raise InputError(f"cannot replace the folder {path}: give it by its name, from outside")
    part, old = path.with_name(temporary_name()), _set_aside(path)
    with tidying():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _recover_folder(path, old)
            part.mkdir()
            fill(part)
            if path.exists():
                os.replace(path, old)
            try:
                os.replace(part, path)
            except OSError:
                if old.exists():
                    os.replace(old, path)
                raise
        except OSError as error:
            raise cannot_write(path, error) from error
        finally:
            remove(part)
            if path.exists():
                remove(old)
    return path


def _set_aside(path: Path) -> Path:
    """Where a folder waits while another takes its place: nobody clears it away, and the next writer finds it."""
    return path.with_name(f"{PREFIX}{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}.old")


def _recover_folder(path: Path, old: Path) -> None:
    """Undo what a process killed within `replace_folder` left half-way, and remove its temporary files."""
    if os.path.lexists(old):
        if os.path.lexists(path):
            remove(old)
        else:
            os.replace(old, path)
    clear_abandoned(path.parent)


def write_text(path: Path, text: str) -> Path:
    """Write a text file in UTF-8, line ends as they are.

    Raises:
        InputError: the file cannot be written.
    """
    return write_atomically(path, lambda part: part.write_text(text, encoding="utf-8", newline=""))


def size_text(size: int) -> str:
    """A number of bytes as people read it: 375042383 -> "375 MB", 2564550879 -> "2.6 GB"."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= scale:
            value = size / scale
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{size} bytes"
