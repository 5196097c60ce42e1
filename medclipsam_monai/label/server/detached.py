"""Refuses, on the server, headers whose pixels lie in another file: such a file may be any of the machine."""

from __future__ import annotations

import re
from pathlib import Path

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import detached_data

_LONGEST_HEADER = 2**20
_NRRD_FIELD = re.compile(rb"^[ \t]*data ?file[ \t]*:(?!=)", re.IGNORECASE | re.MULTILINE)
_NRRD_END = re.compile(rb"\r?\n\r?\n")
_META_FIELD = re.compile(rb"^[ \t]*ElementDataFile[ \t]*[=:][ \t]*([^\r\n]*?)[ \t]*$", re.IGNORECASE | re.MULTILINE)
_META = (".mha", ".mhd")


def refuse_detached(path: str | Path) -> None:
    """Look at a file, or at all files of a folder.

    Raises:
        InputError: one is a NRRD or MetaImage header that names another file, that does not end, or that is damaged.
    """
    path = Path(path)
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file() and (_is_detached(file) or (_is_header(file) and detached_data(file))):
            raise InputError(f"{file}: its pixels lie in another file, which is not followed here; send one whole file")


def _is_header(file: Path) -> bool:
    """Whether the reader of volumes would be asked for it."""
    with file.open("rb") as opened:
        return opened.read(4) == b"NRRD" or file.suffix.lower() in _META


def _is_detached(file: Path) -> bool:
    """Whether its text has the field in any spelling that a library might follow, be the header whole or not."""
    is_meta = file.suffix.lower() in _META
    with file.open("rb") as opened:
        head = opened.read(4)
        if head == b"NRRD" or is_meta:
            head += opened.read(_LONGEST_HEADER)
    if head.startswith(b"NRRD"):
        end = _NRRD_END.search(head)
        return end is None or _NRRD_FIELD.search(head, 0, end.start()) is not None
    if is_meta:
        values = [found[1].lower() for found in _META_FIELD.finditer(head.replace(b"\r\n", b"\n"))]
        return not values or any(value != b"local" for value in values)
    return False
