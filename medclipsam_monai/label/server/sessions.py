"""MONAI Label's sessions, images that a client sends once and asks about often, kept within their own folders."""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from monailabel.utils.sessions import SessionInfo, Sessions

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.limits import largest_image
from medclipsam_monai.label.http_errors import http_errors

_SESSION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MOST_FILES = 20_000
_LONGEST_NAME = 2**16  # of tar's entries that hold names, which are read into memory


class CheckedSessions(Sessions):
    """`Sessions` whose names cannot lead to another folder, and whose archives cannot either."""

    def get_session(self, session_id: str, update_ts: bool = True, fetch_cache: bool = True) -> SessionInfo | None:
        """A session, None where there is none of that name."""
        if not _SESSION_ID.fullmatch(str(session_id)):
            return None
        found = super().get_session(session_id, update_ts, fetch_cache)
        return found if found and self._own(session_id, found.image) else None

    def remove_session(self, session_id: str) -> None:
        """Remove a session and its image."""
        if _SESSION_ID.fullmatch(str(session_id)):
            super().remove_session(session_id)

    def add_session(
        self, data_file: str, expiry: int = 0, uncompress: bool = False, session_id: str | None = None
    ) -> tuple[str, SessionInfo]:
        """Keep an image, or what is in an archive.

        Raises:
            HTTPException: 422 for a file that is no archive, or one that holds paths or links to elsewhere or too much.
        """
        if not uncompress or Path(data_file).is_dir():
            return super().add_session(data_file, expiry, False, session_id)
        folder = Path(tempfile.mkdtemp(dir=Path(data_file).parent))
        try:
            with http_errors():
                unpack(Path(data_file), folder)
            return super().add_session(str(folder), expiry, False, session_id)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _own(self, session_id: str, image: str) -> bool:
        return Path(image).resolve().is_relative_to(Path(self.store_path, session_id).resolve())


class _CheckedEntry(tarfile.TarInfo):
    """An entry of a tar archive as its header says it, before anything of it is decompressed."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: str, errors: str) -> _CheckedEntry:
        """As `tarfile.TarInfo.frombuf`.

        Raises:
            InputError: a size below 0 or beyond what is unpacked, or a name of more than `_LONGEST_NAME` bytes.
        """
        entry = super().frombuf(buf, encoding, errors)
        _check_total(1, entry.size)
        if entry.size < 0 or (entry.size > _LONGEST_NAME and entry.type not in tarfile.REGULAR_TYPES):
            raise InputError(f"the archive has an entry of {entry.size:,} bytes that is no file")
        return entry


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar archive that a client sent.

    Raises:
        InputError: it is none, it is damaged, or it holds paths or links to elsewhere, or more than the largest image.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                entries = packed.infolist()
                _check_total(len(entries), sum(entry.file_size for entry in entries))
                packed.extractall(folder)  # leaves out what would lead elsewhere, and makes no links
        else:
            with tarfile.open(archive, tarinfo=_CheckedEntry) as packed_tar:
                total = 0
                for count, entry in enumerate(packed_tar, start=1):  # which decompresses what it passes by
                    total += entry.size
                    _check_total(count, total)
                packed_tar.extractall(folder, filter="data")
    except InputError:
        raise
    except Exception as error:  # the libraries raise nearly every built-in exception on damaged files
        reason = f"{type(error).__name__}: {error}".replace(str(folder), "")
        raise InputError(f"the upload is no whole zip or tar archive of plain files ({reason[:160]})") from error


def _check_total(count: int, size: int) -> None:
    most = 4 * largest_image()
    if size > most or count > _MOST_FILES:
        raise InputError(
            f"the archive holds {count:,} files of {size:,} bytes; at most {_MOST_FILES:,} files and "
            f"{most:,} bytes are unpacked"
        )
