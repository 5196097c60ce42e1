"""What weights exist, where they come from, their hashes, and where they lie on this machine.

The list is a data file, ``resources/weights.json``. Nothing here opens a network connection but `download`; once a
file is in the weights folder, everything works without one.
"""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import file_sha256, size_text
from medclipsam_monai.base.json_files import read_object

RESOURCES = Path(__file__).parent.parent / "resources"
SHIPPED = ("demo/clip", "demo/sam", "small/clip", "small/sam")
SHIPPED_PICTURES = ("small/known_pictures.safetensors",)
HOME_VARIABLE = "MEDCLIPSAM_HOME"
HUB_PREFIX = "hf-hub:"
SAM_WEIGHTS_NAME = "sam.safetensors"


@dataclass(frozen=True)
class WeightEntry:
    """One published weights file.

    Args:
        name: what users call it.
        what: what it is, in one line.
        file: the official file name, kept in the weights folder.
        url: where it is downloaded from.
        source: the page of its authors.
        size: bytes of the file.
        licence: SPDX identifier of the weights' licence.
        sha256: of the whole file. The short hash in SAM's official file names is an MD5's beginning, not this one's.
    """

    name: str
    what: str
    file: str
    url: str
    source: str
    size: int
    licence: str
    sha256: str


@functools.cache
def known_weights() -> dict[str, WeightEntry]:
    """Every published weights file this package knows, by name."""
    entries = read_object(RESOURCES / "weights.json")
    return {name: WeightEntry(name=name, **fields) for name, fields in entries.items()}


def weight_entry(name: str) -> WeightEntry:
    """The entry of a known name.

    Raises:
        InputError: if no such name is known.
    """
    if name not in known_weights():
        raise InputError(f"no weights are called {name!r}; expected one of {', '.join(known_weights())}")
    return known_weights()[name]


def weights_folder() -> Path:
    """Where downloaded weights lie: $MEDCLIPSAM_HOME, or ~/.cache/medclipsam if that is not set."""
    home = os.environ.get(HOME_VARIABLE)
    return Path(home).expanduser() if home else Path.home() / ".cache" / "medclipsam"


def resolve(source: str | Path) -> Path | str:
    """Where the weights that a preset or a user names are.

    Args:
        source: one of `SHIPPED`, a known name such as "sam_vit_b" (a file in
            the weights folder), "hf-hub:organisation/name", or a path, absolute or from the working directory. A
            file of your own that is named like one of these is given as "./sam_vit_b". For a preset's known pictures
            also one of `SHIPPED_PICTURES`.

    Returns:
        An existing path; a hub name comes back as it is.

    Raises:
        InputError: if nothing is there, with the command that gets it and its size.
    """
    if isinstance(source, str):
        if not source.strip():
            raise InputError("the weights' name is empty; leave it out for the preset's own")
        if source.startswith(HUB_PREFIX):
            return source
        if source in (*SHIPPED, *SHIPPED_PICTURES):
            return _existing(RESOURCES / source, "it ships with this package: install it again")
        if source in known_weights():
            return _downloaded(known_weights()[source])
    expected = f"a path, {HUB_PREFIX}NAME, {', '.join((*SHIPPED, *known_weights()))}"
    return _existing(Path(source).expanduser(), f"expected {expected}")


def _existing(path: Path, remedy: str) -> Path:
    if not path.exists():
        raise InputError(f"weights not found: {path}; {remedy}")
    return path


def _downloaded(entry: WeightEntry) -> Path:
    command = f"medclipsam weights download {entry.name}"
    return _existing(weights_folder() / entry.file, f"get it ({size_text(entry.size)}) by: {command}")


def download(name: str, folder: str | Path | None = None, progress: bool = True, url: str | None = None) -> Path:
    """Get a known weights file, or the rest of it, and check it; one that is there already is only checked.

    Args:
        name: one of `known_weights`.
        folder: where it goes, `weights_folder` if not given.
        progress: whether a progress bar is drawn on stderr.
        url: another server of the same file, a mirror; its hash is checked all the same.

    Returns:
        The file's path.

    Raises:
        InputError: if the name is unknown, the server or the disk fails (what arrived is kept and the next call goes
            on from there), or the file is not the published one.
    """
    from medclipsam_monai.weights.download import DownloadError, fetch

    entry = weight_entry(name)
    target = (weights_folder() if folder is None else Path(folder).expanduser()) / entry.file
    try:
        return fetch(url or entry.url, target, entry.size, entry.sha256, progress)
    except DownloadError as error:
        remedy = f"run it again to go on, or get the file from {entry.source} and save it as {target}"
        raise InputError(f"{name} ({size_text(entry.size)}) did not arrive: {error}; {remedy}") from error


def weight_hash(path: str | Path) -> str:
    """SHA-256 of a weights file, or of the one weights file in a CLIP or SAM folder, as 64 hexadecimal digits.

    Of weights in several parts it is that of the lines "SHA-256 of a part, two spaces, its name", by name, as the
    command sha256sum prints them. A file is read once a process, as long as its size and time of change stay the same.

    Args:
        path: what `resolve` returned; of a hub name the copy in the hub's local cache is meant.

    Raises:
        InputError: if there is no weights file.
    """
    if isinstance(path, str) and path.startswith(HUB_PREFIX):
        path = _cached_hub_folder(path)
    files = _weights_in(Path(path))
    hashes = [_file_hash(file) for file in files]
    if len(files) == 1:
        return hashes[0]
    lines = "".join(f"{digest}  {file.name}\n" for digest, file in zip(hashes, files, strict=True))
    return hashlib.sha256(lines.encode()).hexdigest()


def _file_hash(file: Path) -> str:
    try:
        status = file.stat()
        return _hash_once(file.resolve(), status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise InputError(f"cannot read the weights file {file}: {error.strerror}") from error


def _cached_hub_folder(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name.removeprefix(HUB_PREFIX), local_files_only=True))
    except (LocalEntryNotFoundError, ValueError) as error:
        raise InputError(f"{name} is not in the hub's local cache; load it once with a network") from error


def _weights_in(path: Path) -> tuple[Path, ...]:
    """The weights file itself, or what a folder holds."""
    if not path.is_dir():
        return (path,)
    from medclipsam_monai.weights.clip_folder import find_weights
    from medclipsam_monai.weights.hugging_face.tensors import INDEX, weight_files

    sam = path / SAM_WEIGHTS_NAME
    if sam.is_file():
        return (sam,)
    return weight_files(path) if (path / INDEX).is_file() else (find_weights(path),)


@functools.lru_cache(maxsize=64)
def _hash_once(path: Path, _size: int, _mtime_ns: int) -> str:
    return file_sha256(path)
