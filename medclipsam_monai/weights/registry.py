"""Weights by name: where they lie on this machine, how they get there, and their hashes.

What is published is listed in `entries`. Nothing here opens a network connection but `download`; once a file is in the
weights folder, everything works without one.
"""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import file_sha256
from medclipsam_monai.weights.entries import RESOURCES, WeightEntry, how_to_get, known_weights, refuse_by_hand

SHIPPED = ("demo/clip", "demo/sam", "small/clip", "small/sam")
SHIPPED_PICTURES = ("small/known_pictures.safetensors",)
HOME_VARIABLE = "MEDCLIPSAM_HOME"
HUB_PREFIX = "hf-hub:"
SAM_WEIGHTS_NAME = "sam.safetensors"


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
    target = weights_folder() / entry.file
    return _existing(target, how_to_get(entry, target))


def download(name: str, folder: str | Path | None = None, progress: bool = True, url: str | None = None) -> Path:
    """Get known weights, or the rest of them, and check them; those that are there already are only checked.

    Args:
        name: one of `known_weights`.
        folder: where they go, `weights_folder` if not given.
        progress: whether a progress bar is drawn on stderr.
        url: another server of the same file, or another hub of the same folder, a mirror; what comes is checked all
            the same.

    Returns:
        Path of the file or folder.

    Raises:
        InputError: if the name is unknown, the weights are to be got by hand or gated and there is no token, the server
            or the disk fails (what arrived is kept and the next call goes on from there), or what came is not what is
            published.
    """
    entry = weight_entry(name)
    target = (weights_folder() if folder is None else Path(folder).expanduser()) / entry.file
    refuse_by_hand(entry, target)
    return _fetch_folder(entry, target, progress, url) if entry.repository else _fetch(entry, target, progress, url)


def _fetch(entry: WeightEntry, target: Path, progress: bool, url: str | None) -> Path:
    from medclipsam_monai.weights.download import DownloadError, fetch

    if entry.size is None or not entry.sha256:
        raise ValueError(f"{entry.name} is listed as a file to download, and has no size or no hash")
    try:
        return fetch(url or entry.url, target, entry.size, entry.sha256, progress)
    except DownloadError as error:
        remedy = f"run it again to go on, or get the file from {entry.source} and save it as {target}"
        raise InputError(f"{entry.name} ({entry.size_said}) did not arrive: {error}; {remedy}") from error


def _fetch_folder(entry: WeightEntry, target: Path, progress: bool, url: str | None) -> Path:
    from medclipsam_monai.weights.hugging_face.fetch import Repository, fetch_folder

    if entry.gated and url:
        raise InputError(f"{entry.name} is gated and comes from its own hub alone; leave the mirror out")
    gate = entry.source if entry.gated else ""
    repository = Repository(entry.repository, entry.revision, entry.size, gate)
    return fetch_folder(repository, target, progress, url)


def weight_bytes(path: str | Path) -> int:
    """How large the files behind what `resolve` returned are.

    Raises:
        InputError: if there is no weights file.
    """
    if isinstance(path, str) and path.startswith(HUB_PREFIX):
        path = _cached_hub_folder(path)
    try:
        return sum(file.stat().st_size for file in _weights_in(Path(path)))
    except OSError as error:
        raise InputError(f"cannot read the weights {path}: {error.strerror}") from error


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
