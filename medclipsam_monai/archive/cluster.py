"""A Ray to work with: one of our own on this machine, or one that is there already.

Our own listens on the loopback alone, asks for a token and has no dashboard, tells nobody that it was used, and keeps
its files, pixels that do not fit its memory among them, in a folder that is removed at the end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import remove, size_text
from medclipsam_monai.base.quiet import silent_stderr

_LOOPBACK = "127.0.0.1"
_PATIENCE = 5.0  # seconds that an address has to answer
_PREFACE, _FRAME, _SETTINGS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes(3), 4  # of HTTP/2: RFC 9113, 3.4 and 6.5
_PREFIX, _LOCK = "medclipsam-ray-", "driver.lock"  # of the folder of a Ray of our own
_SOCKET = len(f"{_PREFIX}12345678/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
_STARTS = 3  # tries to start one of our own
_ROOM = 100_000_000  # bytes; without them Ray waits for minutes
_FRESH = 2.0  # seconds in which a driver locks the folder that it made
_LONGEST = 107 if sys.platform == "linux" else 103  # bytes of a socket's name
_ALONE = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # despite its name: listen on the loopback alone, on every system
    "RAY_AUTH_MODE": "token",  # other users of this machine reach the loopback, too
}
"""For a Ray of our own."""

_TOKEN = secrets.token_hex(32)  # Ray keeps the first one of a process
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what a later Ray does; this one warns of it
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # else whatever asks for an object at the end starts a Ray by Ray's own settings
    "RAY_LOG_TO_STDERR": "0",
    "RAY_DEDUP_LOGS": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",  # every line: where a worker dies, Ray tells standard output a page about it
    "RAY_worker_niceness": "0",  # as `segment` runs
}


def require_ray(alone: bool) -> None:
    """Import Ray, whose settings are read when it is imported.

    Args:
        alone: it will be one of our own.

    Raises:
        InputError: it is not installed; with how to install it.
    """
    os.environ.update(_QUIET)
    if alone:
        os.environ.update(_ALONE)
        os.environ.setdefault("RAY_AUTH_TOKEN", _TOKEN)
    try:
        import pyarrow  # noqa: F401
        import ray.data  # noqa: F401
    except ImportError as error:
        raise InputError("archive needs Ray Data: pip install 'medclipsam-monai[archive]'") from error


def check_address(address: str) -> None:
    """Refuse an address where nothing answers.

    Args:
        address: HOST:PORT of a cluster's head.

    Raises:
        InputError: it is no such address, or nobody listens there.
    """
    host, colon, port = address.rpartition(":")
    wrong = f"--ray must be HOST:PORT of a cluster's head, got {address!r}"
    if not colon or not host or "/" in address or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(wrong)
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE) as there:
            reason = "" if _speaks_grpc(there) else "what listens there is something else"
    except ValueError as error:  # a part of the name is empty, or too long for one
        raise InputError(wrong) from error
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise InputError(f"no Ray at {address}: {reason}; leave --ray out to work on this machine")


def _speaks_grpc(there: socket.socket) -> bool:
    """Whether a server answers as Ray's do, by HTTP/2; Ray itself would wait for minutes for another one."""
    if os.environ.get("RAY_USE_TLS", "0") not in ("0", "false"):
        return True
    there.sendall(_PREFACE + _FRAME + bytes([_SETTINGS]) + bytes(5))
    answer = b""
    while len(answer) <= len(_FRAME) and (part := there.recv(1)):
        answer += part
    return answer[len(_FRAME) :] == bytes([_SETTINGS])


def check_room(ray: Any, processors: int, gpus: int) -> None:
    """Refuse a Ray that is too small: it would wait for ever.

    Args:
        ray: see `joined`.
        processors: how many are needed.
        gpus: how many are needed.

    Raises:
        InputError: with what it has.
    """
    there = ray.cluster_resources()
    for kind, needed in (("CPU", processors), ("GPU", gpus)):
        if there.get(kind, 0) < needed:
            has = f"{there.get(kind, 0):g}"
            raise InputError(f"the Ray must have {needed} {kind}s free for --workers and --readers, it has {has}")


@contextlib.contextmanager
def _own_folder() -> Iterator[str]:
    """A folder for the files of a Ray of our own, removed with the block; those of killed drivers are removed first."""
    place = Path(tempfile.gettempdir())
    if len(os.fsencode(place)) + 1 + _SOCKET > _LONGEST and os.name == "posix":
        place = Path("/tmp")
    _clear_abandoned(place)
    left = shutil.disk_usage(place).free
    if left < _ROOM:
        needs = f"{place} has {size_text(left)} left, and Ray needs {size_text(_ROOM)} for its files"
        raise InputError(f"{needs}; make room there, or let TMPDIR name another folder")
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=place, ignore_cleanup_errors=True) as folder:
        lock = FileLock(Path(folder, _LOCK))
        lock.acquire()  # let go by the system where this process is killed
        try:
            yield folder
        finally:
            lock.release()


def _clear_abandoned(place: Path) -> None:
    """Remove the folders of this user's drivers that were killed: there may be pixels in them."""
    for folder in place.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, Timeout, AttributeError):  # systems without users have no getuid
            told = folder.lstat()
            ours = stat.S_ISDIR(told.st_mode) and told.st_uid == os.getuid() and (folder / _LOCK).is_file()
            if ours and time.time() - told.st_mtime > _FRESH:
                with FileLock(folder / _LOCK, blocking=False):
                    remove(folder)


def _init(ray: Any, settings: dict[str, Any], address: str | None) -> None:
    """Start or join, see `joined`; Ray gives its own processes 30 s to begin in, which a busy machine exceeds."""
    for tries in range(1 if address else _STARTS, 0, -1):
        try:
            ray.init(**settings)
            return
        except Exception as error:
            ray.shutdown()
            if address:
                told = f"no Ray at {address}: what listens there does not answer as one of this version"
                raise InputError(told) from error
            if tries == 1:
                told = "Ray did not start on this machine; it may be short of memory, or too busy"
                raise InputError(f"{told}: {' '.join(str(error).split())}") from error


@contextlib.contextmanager
def joined(address: str | None, processors: int) -> Iterator[Any]:
    """Start a Ray of our own or join one; left, and ended if it is ours, with the block.

    Args:
        address: HOST:PORT of a cluster's head; None for one of our own.
        processors: of our own, how many it counts.

    Yields:
        The module ``ray``.

    Raises:
        InputError: there is no Ray at the address, or none of our own comes up.
    """
    require_ray(address is None)
    import ray

    settings: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    with contextlib.ExitStack() as stack:
        if address is None:
            folder = stack.enter_context(_own_folder())
            settings |= {"address": "local", "num_cpus": processors, "include_dashboard": False, "_temp_dir": folder}
        else:
            check_address(address)
            settings["address"] = address
        stack.enter_context(silent_stderr())  # what its C++ says there is for its developers
        stack.callback(ray.shutdown)
        _init(ray, settings, address)
        if address is None and ray.util.get_node_ip_address() != _LOOPBACK:
            raise InputError("Ray was imported before this: its own would listen to the network; use a new process")
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # images whose process died are tried again by us, one by one
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        yield ray
