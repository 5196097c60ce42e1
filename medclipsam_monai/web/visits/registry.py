"""Who is there: a visit for each open page, and an end of it with all its files when the page is gone."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
import weakref
from pathlib import Path

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import clear_abandoned, temporary_name
from medclipsam_monai.web.uploads.arrivals import Arrivals
from medclipsam_monai.web.visits.networks import Networks
from medclipsam_monai.web.visits.visit import Limits, Visit

KEPT_SECONDS = 300.0
"""After a page is closed, or its connection is lost: a page that is loaded anew finds its image for so long."""
IDLE_SECONDS = 3 * 3600.0
MOST_VISITS = 64


class Visits:
    """The visits of a server, by the page's own number.

    Args:
        networks: of the server.
        limits: what each visitor may send.
        kept_seconds: see `KEPT_SECONDS`.
        most: how many there may be at a time.

    Attributes:
        folder: of all uploads, which nobody but the server's user can open; removed with this object.
        arrivals: in it, where the server puts what is sent, under its content's hash.
    """

    def __init__(
        self,
        networks: Networks,
        limits: Limits | None = None,
        kept_seconds: float = KEPT_SECONDS,
        most: int = MOST_VISITS,
    ) -> None:
        self.networks, self.limits, self.kept_seconds, self.most = networks, limits or Limits(), kept_seconds, most
        temporary = Path(tempfile.gettempdir())
        clear_abandoned(temporary)  # of servers that were killed
        self.folder = temporary / temporary_name("-web")
        self.folder.mkdir(mode=0o700)
        self.arrivals = Arrivals(self.folder / "sent")
        self._removed = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self._lock = threading.Lock()
        self._visits: dict[str, Visit] = {}
        self._left: dict[str, float] = {}

    def of(self, page: str) -> Visit:
        """The visit of a page; one is begun where there is none.

        Raises:
            InputError: too many are there.
        """
        self.sweep()
        with self._lock:
            self._left.pop(page, None)
            if page not in self._visits:
                self._make_room()
                folder = Path(tempfile.mkdtemp(dir=self.folder))
                self._visits[page] = Visit(folder, self.networks, self.limits)
            visit = self._visits[page]
            visit.used = time.monotonic()
            return visit

    def resume(self, page: str, token: str) -> Visit:
        """The visit that a page had before it was loaded anew, by its token; a new one where that has ended."""
        with self._lock:
            old = next((name for name, visit in self._visits.items() if token and visit.token == token), None)
            if old is not None:
                self._left.pop(old, None)
                self._visits[page] = self._visits.pop(old)
        return self.of(page)

    def by_address(self, address: str) -> Visit | None:
        """The visit whose downloads an address names, None where there is none (any more)."""
        with self._lock:
            return next((visit for visit in self._visits.values() if visit.address == address), None)

    def leave(self, page: str) -> None:
        """A page is gone; perhaps it comes back."""
        with self._lock:
            if page in self._visits:
                self._left[page] = time.monotonic()

    def sweep(self) -> None:
        """End the visits whose page is gone for good, or that nobody used for hours; remove what was sent long ago."""
        now = time.monotonic()
        with self._lock:
            gone = [page for page, since in self._left.items() if now - since >= self.kept_seconds]
            gone += [page for page, visit in self._visits.items() if now - visit.used >= IDLE_SECONDS]
            ended = [self._forget(page) for page in dict.fromkeys(gone)]
            kept = {self.arrivals.folder, *(visit.folder for visit in self._visits.values())}
            nobodys: list[Path] = []
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                nobodys += (folder for folder in self.folder.iterdir() if folder not in kept)
        for visit in ended:
            visit.end()
        for folder in nobodys:  # such as of a visit that ended while what it had been sent was unpacked
            shutil.rmtree(folder, ignore_errors=True)
        self.arrivals.remove(self.kept_seconds)

    def close(self) -> None:
        """End all visits, and remove the folder; to be used no more."""
        with self._lock:
            ended = [self._forget(page) for page in list(self._visits)]
        for visit in ended:
            visit.end()
        self._removed()

    def __len__(self) -> int:
        return len(self._visits)

    def _forget(self, page: str) -> Visit:
        self._left.pop(page, None)
        return self._visits.pop(page)

    def _make_room(self) -> None:
        if len(self._visits) < self.most:
            return
        unused = {page: visit.used for page, visit in self._visits.items() if visit.job is None}
        leaving = self._left or unused  # nobody misses a page on which nothing was done
        if not leaving:
            raise InputError(f"{self.most} pages are open, which is as many as this server has room for; try later")
        self._forget(min(leaving, key=leaving.__getitem__)).end()
