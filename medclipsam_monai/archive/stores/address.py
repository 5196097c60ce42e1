"""What ``--output`` of an archive means: a folder, or a URL that pyarrow's file systems take.

A URL holds no secrets: it would stand in lists of processes and in what Ray says of a run. They belong in the
environment, where pyarrow looks for them.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from medclipsam_monai.archive.stores.folder import FolderStore
from medclipsam_monai.archive.stores.store import Store
from medclipsam_monai.base.errors import InputError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PASSWORD = re.compile(r"[^@]*:[^@]*@")
_SECRET = re.compile(r"key|secret|token|passw|credential|sig", re.IGNORECASE)
_SEEN = (
    "a password or a key in --output would be seen by others; leave it out and set it in the environment, as "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for s3"
)
_THIS_MACHINE = ("", "localhost")


def open_store(destination: str) -> Store:
    """The place behind a folder's name or a URL; nothing is reached yet.

    Args:
        destination: a folder, ``file://`` of one, or a URL such as ``s3://bucket/folder``.

    Raises:
        InputError: an empty name, a URL that is none, or one with a password or a key in it.
    """
    if not destination.strip():
        raise InputError("the output folder's name is empty")
    if _URL.match(destination) is None:
        return FolderStore(Path(destination).expanduser().absolute())
    scheme, _, rest = destination.partition("://")
    if _PASSWORD.match(rest):  # a password may hold whatever else ends a part of a URL
        raise InputError(f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}: {_SEEN}")
    try:
        parts = urlsplit(destination)
    except ValueError:
        raise InputError(f"--output {scheme}://... is no URL; give one as s3://bucket/folder") from None
    shown = f"{scheme}://{parts.netloc}{parts.path}".rstrip("/")
    if any(_SECRET.search(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise InputError(f"{shown}: {_SEEN}")
    if scheme.lower() == "file":
        if parts.netloc.lower() not in _THIS_MACHINE:
            raise InputError(f"{shown}: must name a folder of this machine, as file:///folder")
        return FolderStore(Path(unquote(parts.path)).absolute())
    if scheme.lower() == "fsspec+memory":
        raise InputError(f"{shown}: each process has a memory of its own; give a folder or a store that all reach")
    from medclipsam_monai.archive.stores.remote import RemoteStore

    return RemoteStore(destination, shown)
