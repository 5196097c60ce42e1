"""A network's folder from the Hugging Face hub, by the hub's own library: settings, tokenizer, and one form of weights.

What arrives is kept beside the target under the name ``<folder>.part`` until it is complete and has the right form; a
next call goes on from there. Only names on the repository's top are taken, of the kinds that loaders read.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import size_text
from medclipsam_monai.base.json_files import read_object
from medclipsam_monai.weights.clip_config import CONFIG_NAME as OPEN_CLIP_CONFIG
from medclipsam_monai.weights.clip_folder import find_weights
from medclipsam_monai.weights.hugging_face.tensors import INDEX, weight_files

_FORMS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "model.safetensors",
    INDEX,
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
)
"""Weights by preference: a repository often has the same ones in several forms."""
_SETTINGS = (".json", ".txt", ".model")
_BOOKKEEPING = ".cache"  # of the hub's library


@dataclass(frozen=True)
class Repository:
    """Where a folder comes from, and what is known of it.

    Attributes:
        name: "organisation/name".
        revision: a commit; empty for the newest.
        size: bytes of its weights; None where it is not known.
        gate: page where its licence is accepted; empty where none has to be.
    """

    name: str
    revision: str = ""
    size: int | None = None
    gate: str = ""


def fetch_folder(repository: Repository, target: Path, progress: bool = True, endpoint: str | None = None) -> Path:
    """Download a repository's network to ``target``, or the rest of it; one that is there already is only checked.

    Args:
        repository: what is asked for.
        target: the folder that it becomes.
        progress: whether progress bars are drawn on stderr.
        endpoint: another hub, a mirror; no token is sent there.

    Returns:
        ``target``.

    Raises:
        InputError: a licence has to be accepted or a token is missing, the hub cannot be reached or has no such
            repository (what arrived is kept), the disk is full, or what came has another size or form.
    """
    if not target.exists():
        token = _token(repository) if endpoint is None else False
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(target.with_name(f".{target.name}.lock")):
                if not target.exists():  # another process may have brought it while this one waited
                    _bring(repository, target, progress, endpoint, token)
                    return target
        except OSError as error:
            raise InputError(f"cannot write {target.name} in {target.parent}: {error.strerror or error}") from error
    check_folder(target, repository.size)
    return target


def check_folder(folder: Path, size: int | None) -> None:
    """Make sure that a folder holds weights of a known form, all of them, and settings that can be read.

    Args:
        folder: to look into.
        size: bytes of all files of weights; None where it is not known.

    Raises:
        InputError: naming what is wrong.
    """
    try:
        files = (find_weights(folder),) if (folder / OPEN_CLIP_CONFIG).is_file() else weight_files(folder)
        found = sum(path.stat().st_size for path in files)
        if size is not None and found != size:
            raise InputError(f"its weights are {size_text(found)} ({found} bytes), expected {size} bytes")
        for path in files:
            _check_form(path)
        for path in sorted(folder.glob("*.json")):
            read_object(path)
    except InputError as error:
        raise InputError(f"{folder} is not as published: {error}; delete it to download it anew") from error


def _check_form(path: Path) -> None:
    """The header of a safetensors file fits its length; a torch file is a whole archive. Nothing in it is run."""
    if path.suffix != ".safetensors":
        if not zipfile.is_zipfile(path):
            raise InputError(f"{path.name} is no whole file of torch.save")
        return
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            file.keys()
    except SafetensorError as error:
        raise InputError(f"{path.name} is no whole safetensors file ({error})") from error


def _token(repository: Repository) -> str | None:
    """The user's token for the hub, where there is one.

    Raises:
        InputError: there is none, and the repository wants one.
    """
    from huggingface_hub import get_token

    token = get_token()
    if token is None and repository.gate:
        raise InputError(
            f"{repository.name} is gated and there is no token; accept its licence at {repository.gate}, make a token "
            "there, and give it as HF_TOKEN or by: hf auth login"
        )
    return token


def _bring(
    repository: Repository, target: Path, progress: bool, endpoint: str | None, token: str | bool | None
) -> None:
    from huggingface_hub import snapshot_download

    part = target.with_name(f"{target.name}.part")
    revision = repository.revision or "main"
    try:
        names = _wanted(repository, revision, endpoint, token)
        with _bars(progress):
            snapshot_download(
                repository.name,
                revision=revision,
                local_dir=part,
                allow_patterns=names,
                endpoint=endpoint,
                token=token,
            )
    except InputError:
        raise
    except Exception as error:  # the library's own, those of its HTTP client, and the system's
        raise InputError(_plain(repository, error)) from error
    missing = [name for name in names if not (part / name).is_file()]
    if missing:
        raise InputError(f"{repository.name} did not arrive: {missing[0]} is missing; run it again to go on")
    shutil.rmtree(part / _BOOKKEEPING, ignore_errors=True)
    try:
        check_folder(part, repository.size)
    except InputError:
        shutil.rmtree(part, ignore_errors=True)
        raise
    part.rename(target)


def _wanted(repository: Repository, revision: str, endpoint: str | None, token: str | bool | None) -> list[str]:
    """The names to download: settings and tokenizer, and the preferred form of weights."""
    from huggingface_hub import HfApi

    names = HfApi(endpoint=endpoint, token=token).list_repo_files(repository.name, revision=revision)
    weights = next((name for name in _FORMS if name in names), None)
    if weights is None:
        raise InputError(f"{repository.name} holds no weights that this package reads; expected {_FORMS[2]}")
    parts = [name for name in names if name.startswith("model-") and name.endswith(".safetensors")]
    settings = [name for name in names if "/" not in name and name.endswith(_SETTINGS) and name != INDEX]
    return [weights, *settings, *(parts if weights == INDEX else ())]


@contextmanager
def _bars(shown: bool) -> Iterator[None]:
    """The library's progress bars, or none; it has one switch for all of them."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if shown or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _plain(repository: Repository, error: Exception) -> str:
    """What went wrong, in one line that says what to do."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    name = repository.name
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, GatedRepoError) or (repository.gate and status in (401, 403)):
        return f"{name} is gated, and the token's account may not have it; accept its licence at {repository.gate}"
    if isinstance(error, RepositoryNotFoundError | RevisionNotFoundError):
        return f"{name} is not on the hub as it was listed (revision {repository.revision or 'main'})"
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return f"{name} did not arrive: {reason}; run it again to go on"
