"""What ``--output`` of an archive means: a folder, or a URL that pyarrow's file systems take.

A URL holds no secrets: it would stand in lists of processes and in what Ray says of a run. They belong in the
environment, where pyarrow looks for them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

from medclipsam_monai.archive.stores.folder import FolderStore
from medclipsam_monai.archive.stores.store import Store
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.inputs.folders import with_home

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_ONE_SLASH = re.compile(r"(file|s3|gs|gcs|abfss?|hdfs|viewfs|hf|fsspec\+[a-z0-9.+-]+):/", re.IGNORECASE)
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
        InputError: an empty name, a URL that is none, that has parts which name no folder, or one with a password or
            a key in it.
    """
    if not destination.strip():
        raise InputError("the output folder's name is empty")
    if _URL.match(destination) is None:
        one_slash = _ONE_SLASH.match(destination)
        if one_slash is not None:
            scheme = one_slash[1]
            right = "file:///folder" if scheme.lower() == "file" else f"{scheme}://..."
            raise InputError(f"{one_slash[0]}...: a URL has two slashes after its scheme; write {right}")
        return FolderStore(with_home(destination).absolute())
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
    if "#" in destination:
        raise InputError(f"{shown}: what follows # in a URL is no part of a folder's name; write %23 for #")
    if scheme.lower() == "file":
        if "?" in destination:
            raise InputError(f"{shown}: what follows ? in a URL is no part of a folder's name; write %3F for ?")
        folder = os.fsdecode(unquote_to_bytes(parts.path))
        if parts.netloc.lower() not in _THIS_MACHINE or not folder or "\0" in folder:
            raise InputError(f"{shown}: must name a folder of this machine, as file:///folder")
        return FolderStore(Path(folder).absolute())
    if scheme.lower() == "fsspec+memory":
        raise InputError(f"{shown}: each process has a memory of its own; give a folder or a store that all reach")
    from medclipsam_monai.archive.stores.remote import RemoteStore

    return RemoteStore(destination, shown)
