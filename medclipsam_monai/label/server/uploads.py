"""Where the files lie that clients send with a request, and under which names.

MONAI Label writes them to the system's temporary folder, which everybody on the machine writes to, with endings that
the client chooses, and hands them on by their paths. Here they have a folder of their own, which nobody else can open,
and names that nobody can guess: what lies elsewhere is no client's.
"""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
import time
import weakref
from pathlib import Path
from types import SimpleNamespace

LONGEST_NAME = 100
_KEPT_SECONDS = 3600  # MONAI Label leaves the file of a request that failed
_ENDING = re.compile(r"(\.[A-Za-z0-9]{1,10}){1,2}$")


class Uploads:
    """The folder of uploads, made for its owner alone and removed with this object or the process."""

    def __init__(self) -> None:
        root = Path(tempfile.mkdtemp(prefix="medclipsam-label-"))  # mode 0700
        weakref.finalize(self, shutil.rmtree, root, ignore_errors=True)
        self.folder, self.scratch = root / "uploads", root / "scratch"
        self.folder.mkdir()
        self.scratch.mkdir()

    def receive(self) -> None:
        """Let MONAI Label's endpoints put what they receive here, and all else that is temporary beside it."""
        from monailabel.endpoints import datastore, infer, model, session, wsi_infer

        for endpoint in (datastore, infer, model, session, wsi_infer):
            endpoint.tempfile = SimpleNamespace(NamedTemporaryFile=self.new)
        session.get_basename = safe_name
        tempfile.tempdir = str(self.scratch)

    def new(self, suffix: str = "") -> SimpleNamespace:
        """A name for a file, as ``NamedTemporaryFile`` gives it to MONAI Label.

        Args:
            suffix: what follows the first dot of the client's name; a plain ending of it is kept, in small letters.
        """
        self._sweep()
        ending = _ENDING.search(suffix)
        return SimpleNamespace(name=str(self.folder / f"{secrets.token_hex(16)}{ending[0].lower() if ending else ''}"))

    def holds(self, path: str | Path) -> bool:
        """Whether a path is that of an upload, as `new` gave it."""
        return Path(path).parent == self.folder and not Path(path).is_symlink()

    def _sweep(self) -> None:
        """Remove what an earlier request has left."""
        for path in self.folder.iterdir():
            try:
                if time.time() - path.lstat().st_mtime > _KEPT_SECONDS:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            except FileNotFoundError:  # another request was faster
                continue


def safe_name(path: str) -> str:
    """The name of a client's file as one that is a file's name and nothing else, its ending kept."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", re.split(r"[/\\]", path.rstrip("/\\"))[-1])[-LONGEST_NAME:]
    return name if name.strip(".") else "file"
