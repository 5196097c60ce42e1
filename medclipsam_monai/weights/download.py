"""One large file over HTTP: goes on where it stopped, is checked, and appears whole or not at all.

What arrives is kept beside the target under the name ``<file>.part`` until its size and SHA-256 are right. pooch and
torch.hub start from nothing after an interruption, and the hub's own client only serves its own repositories, so the
few lines of HTTP Range are here, on top of requests; filelock keeps two downloads of one file apart.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from filelock import FileLock, Timeout
from requests.exceptions import ChunkedEncodingError, RequestException

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import file_sha256
from medclipsam_monai.weights.registry import size_text

logger = logging.getLogger(__name__)
_TIMEOUT = (15, 60)  # seconds to connect, and between two packets
_CHUNK = 1 << 16  # bytes; what had not filled a chunk when the line broke is asked for again
_FULL = (errno.ENOSPC, errno.EDQUOT)
_INTERRUPTED = (requests.ConnectionError, requests.Timeout, ChunkedEncodingError)

Report = Callable[[int], None]  # is told how many bytes are there


class DownloadError(InputError):
    """The server failed; what arrived is kept."""


@dataclass(frozen=True)
class _Remote:
    url: str
    size: int
    sha256: str


def fetch(url: str, target: Path, size: int, sha256: str, progress: bool = True) -> Path:
    """Download a file to ``target``, or the rest of it; one that is there already is only checked.

    Args:
        url: where the file is.
        target: where it goes; folders are made.
        size: its bytes.
        sha256: of the whole file.
        progress: whether a progress bar is drawn on stderr.

    Returns:
        ``target``.

    Raises:
        DownloadError: if the server cannot be reached, refuses, or breaks off; ``<target>.part`` is kept.
        InputError: if the disk is full (``<target>.part`` is kept), the folder cannot be written, or the file is not
            the expected one.
    """
    remote = _Remote(url, size, sha256)
    try:
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with _one_at_a_time(target):
                if not target.exists():  # another process may have brought it while this one waited
                    _bring(remote, target, progress)
                    return target
    except OSError as error:
        raise InputError(f"cannot write {target.name} in {target.parent}: {error.strerror or error}") from error
    _check_present(remote, target)
    return target


def _check_present(remote: _Remote, target: Path) -> None:
    found = file_sha256(target)
    if found != remote.sha256:
        raise InputError(
            f"{target} is not the published file: its SHA-256 is {found[:12]}..., expected {remote.sha256[:12]}...; "
            "delete it to download it anew, or use a file of your own by its path"
        )


@contextmanager
def _one_at_a_time(target: Path) -> Iterator[None]:
    """Holds the lock of a target; a second download waits and says so."""
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("another download of %s is under way; waiting for it", target.name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _bring(remote: _Remote, target: Path, progress: bool) -> None:
    part = target.with_name(f"{target.name}.part")
    with _progress_bar(target.name, remote.size, progress) as report:
        _receive_all(remote, part, report)
    found = file_sha256(part)
    if found != remote.sha256:
        part.unlink()
        raise InputError(
            f"{remote.url} is not the published {target.name}: SHA-256 {found[:12]}..., expected "
            f"{remote.sha256[:12]}...; what arrived is deleted; try again, or another server"
        )
    os.replace(part, target)


def _receive_all(remote: _Remote, part: Path, report: Report) -> None:
    """Ask for the rest until the size is right, as long as every request brings something new."""
    if _size(part) > remote.size:
        part.unlink()
    while (have := _size(part)) < remote.size:
        reason = "it sent less than the whole file"
        try:
            _receive(remote, part, have, report)
        except _INTERRUPTED as error:
            reason = _plain(error)
        except RequestException as error:
            raise DownloadError(f"{remote.url} cannot be asked: {_plain(error)}") from error
        except OSError as error:
            if error.errno in _FULL:
                raise _disk_full(remote, part) from error
            raise
        if _size(part) <= have:
            kept = f"{size_text(_size(part))} of {size_text(remote.size)} kept"
            raise DownloadError(f"{remote.url} broke off: {reason} ({kept})")


def _receive(remote: _Remote, part: Path, have: int, report: Report) -> None:
    """One request for everything after the first ``have`` bytes."""
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with requests.get(remote.url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if have and response.status_code == requests.codes.range_not_satisfiable:
            _receive(remote, part, 0, report)
            return
        if not response.ok:
            raise DownloadError(f"{remote.url} answered {response.status_code} {response.reason}")
        start, total = _span(response)
        if total not in (None, remote.size) or start not in (0, have):
            offer = f"{size_text(total or 0)} from byte {start}, expected {size_text(remote.size)} from byte {have}"
            raise InputError(f"{remote.url} is not the published file: it offers {offer}")
        if shutil.disk_usage(part.parent).free < remote.size - _size(part):
            raise _disk_full(remote, part)
        _append(response, part, start, remote.size, report)


def _append(response: requests.Response, part: Path, start: int, size: int, report: Report) -> None:
    """Write what arrives from byte ``start`` on; a server without Range starts at 0 and sends everything again."""
    with part.open("ab" if start else "wb", buffering=0) as file:
        for chunk in response.iter_content(_CHUNK):
            start += _write(file.write, chunk)
            report(start)
            if start > size:  # an endless answer must not fill the disk
                return


def _write(write: Callable[[memoryview], int], chunk: bytes) -> int:
    """All of a chunk to an unbuffered file, whose write may stop short."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[write(rest) :]
    return len(chunk)


def _span(response: requests.Response) -> tuple[int, int | None]:
    """First byte that a response carries, and the bytes of the whole file where the server tells."""
    if response.status_code == requests.codes.partial_content:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match:
            return int(match[1]), None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _disk_full(remote: _Remote, part: Path) -> InputError:
    have = _size(part)
    return InputError(
        f"the disk is full: {part.name.removesuffix('.part')} needs {size_text(remote.size - have)} more in "
        f"{part.parent}; {size_text(have)} that arrived are kept; free some space and run it again to go on"
    )


def _plain(error: Exception) -> str:
    """The last, plainest part of what requests and urllib3 say."""
    text = str(error)
    for technical, plain in (
        ("NameResolutionError", "its name is not found; is there a network?"),
        ("Connection refused", "it refuses the connection"),
        ("Network is unreachable", "there is no network"),
        ("timed out", "it does not answer"),
        ("IncompleteRead", "the connection broke"),
        ("Connection aborted", "the connection broke"),
        ("CERTIFICATE", "its certificate is not trusted"),
    ):
        if technical in text:
            return plain
    return f"{type(error).__name__}: {text}".splitlines()[0]


@contextmanager
def _progress_bar(name: str, size: int, show: bool) -> Iterator[Report]:
    """A bar on stderr with size, speed and time left."""
    if not show:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=size)
        yield lambda completed: bar.update(task, completed=completed)
