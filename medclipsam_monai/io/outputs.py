"""The files of one image in an output folder: never mixed, never over what this package did not write.

Two things must hold whenever a process is killed, and with several processes on one folder: a record never stands
beside outputs of another request, and what is not ours, or was changed since, is not replaced. So:

1. Each image has a lock (`.medclipsam-HASH.lock`, held by the system, which frees it when a process dies). It is
   removed as the last act of its holder; filelock sees that a lock it waited for was removed, and takes the new one.
2. New outputs are first written in a hidden folder whose name says which process it belongs to. A process killed here
   has changed nothing; the next run removes the folder (`clear_abandoned`).
3. `ImageOutputs.commit` then writes a journal with the hashes of the old and the new outputs, removes the old record,
   renames the new outputs into place, removes old ones that the new request has not, renames the new record into
   place, and removes the journal.
4. Who opens an image's outputs, and each run at its start, finishes a journal that was left: where there is no record,
   the process was killed half-way, and the files that are still as the journal says are removed; with a record there
   was nothing left to do. So after a kill at any point the same command, or one with another text, finds either a
   whole result or none, and needs no --overwrite to go on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import PREFIX, cannot_write, clear_abandoned, remove, temporary_name, write_text
from medclipsam_monai.base.interrupts import tidying
from medclipsam_monai.base.json_files import read_own_object, write_json
from medclipsam_monai.io.records import is_base_name, is_finished, is_unchanged, read_record

_LONGEST_NAME = 255  # bytes, on nearly every file system


class Replace(Enum):
    """What may be replaced in an output folder; inputs never are."""

    SAME_REQUEST = "our unchanged outputs of the same request for the same image"
    OWN = "our unchanged outputs of any request"
    EVERYTHING = "whatever is there"


class InUseError(Exception):
    """Another process works on the outputs of this image."""


@dataclass(frozen=True)
class Question:
    """Which image is to be answered, and what was asked of it.

    Attributes:
        request: see `request_key`.
        input_sha256: see `hash_files`; empty where it is not known yet, as no record is there to compare it with.
        replace: what its outputs may replace.
        inputs: files that they never replace.
    """

    request: str
    input_sha256: str
    replace: Replace = Replace.SAME_REQUEST
    inputs: frozenset[Path] = field(default_factory=frozenset)


@contextlib.contextmanager
def open_outputs(folder: str | Path, stem: str, wait: bool = True) -> Iterator[ImageOutputs]:
    """Hold the lock of an image's outputs; the folder is made if it is not there.

    Args:
        folder: where they are.
        stem: how their names begin.
        wait: for another process that holds it.

    Raises:
        InUseError: another process holds it, and ``wait`` is false.
        InputError: the folder cannot be written, or the stem leads out of it.
    """
    if not str(folder).strip():
        raise InputError("the output folder's name is empty")
    if not is_base_name(stem):
        raise InputError(f"outputs must begin with a plain name, got {stem!r}")
    place = Path(folder)
    hidden = _hidden(place, stem)
    lock = FileLock(f"{hidden}.lock", thread_local=False)  # one thread may open the outputs, and another close them
    with tidying():
        try:
            place.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=wait)
        except Timeout:
            raise InUseError(stem) from None
        except OSError as error:
            raise InputError(f"cannot write in the output folder {place}: {error.strerror or error}") from error
        outputs = ImageOutputs(place, stem)
        try:
            outputs.recover()
            yield outputs
        finally:
            outputs.close()
            with contextlib.suppress(OSError):
                os.unlink(lock.lock_file)
            lock.release()


def clear_interrupted(folder: Path) -> None:
    """Finish what killed processes left in an output folder: journals, temporary files and locks."""
    clear_abandoned(folder)
    for journal in folder.glob(f"{PREFIX}*.journal"):
        stem = (read_own_object(journal) or {}).get("stem")
        if not isinstance(stem, str) or journal != _journal(folder, stem):  # damaged
            remove(journal)
            continue
        with contextlib.suppress(InputError, InUseError), open_outputs(folder, stem, wait=False):
            pass  # opening it is enough
    for lock in folder.glob(f"{PREFIX}*.lock"):
        with contextlib.suppress(OSError, Timeout), FileLock(lock, blocking=False):
            lock.unlink()


def _hidden(folder: Path, stem: str) -> Path:
    """Start of the hidden files of a stem; a hash, for a stem may be as long as a name may be."""
    return folder / f"{PREFIX}{hashlib.sha256(os.fsencode(stem)).hexdigest()[:16]}"


def _journal(folder: Path, stem: str) -> Path:
    return folder / journal_name(stem)


def journal_name(stem: str) -> str:
    """The journal of an image's outputs, see the module's text."""
    return f"{_hidden(Path(), stem)}.journal"


def journal_text(stem: str, new: Mapping[str, str], old: Mapping[str, str]) -> str:
    """What it holds: names and hashes of the outputs that are about to come and of those that were there."""
    hashes = {name: [sha256] for name, sha256 in new.items()}
    for name, sha256 in old.items():
        hashes.setdefault(name, []).append(sha256)
    return json.dumps({"stem": stem, "outputs": hashes})


class ImageOutputs:
    """Outputs of one image while their lock is held; see `open_outputs`.

    Attributes:
        folder: where they are.
        stem: how their names begin.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        self.folder, self.stem = folder, stem
        self._journal = _journal(folder, stem)
        self._staging: Path | None = None

    @property
    def record_path(self) -> Path:
        """Where the record is, once all is done."""
        return self.folder / f"{self.stem}.json"

    @property
    def staging(self) -> Path:
        """A hidden folder for the new outputs, made when first asked for.

        Raises:
            InputError: it cannot be made.
        """
        if self._staging is None:
            path = self.folder / temporary_name()
            try:
                path.mkdir()
            except OSError as error:
                raise cannot_write(path, error) from error
            self._staging = path
        return self._staging

    def close(self) -> None:
        """Remove what was not committed."""
        if self._staging is not None:
            remove(self._staging)
        self.recover()

    def recover(self) -> None:
        """Finish what a killed process left half-way, see the module's text."""
        left = read_own_object(self._journal)
        if left is not None and not self.record_path.exists():
            self._roll_back(left.get("outputs"))
        remove(self._journal)

    def _roll_back(self, hashes: object) -> None:
        """Remove the outputs that are as a journal says, which maps their names to lists of hashes."""
        for name, known in hashes.items() if isinstance(hashes, dict) else ():
            path = self.folder / name
            if is_base_name(name) and isinstance(known, list) and any(is_unchanged(path, one) for one in known):
                remove(path)

    def is_finished(self, request: str) -> bool:
        """Whether the record is that of a request, and all outputs are there as they were written."""
        return is_finished(self.record_path, request)

    def check(self, names: Iterable[str], question: Question) -> None:
        """Refuse to go on where an output would replace what it must not.

        Args:
            names: the outputs that are to be written, without the record.
            question: what they answer.

        Raises:
            InputError: with the first file that is in the way, why, and what to do.
        """
        record = read_record(self.record_path)
        for name in (*names, self.record_path.name):
            if len(os.fsencode(name)) > _LONGEST_NAME:
                raise InputError(
                    f"cannot write {name}: a name of over {_LONGEST_NAME} bytes; give the input a shorter one"
                )
            path = self.folder / name
            if not os.path.lexists(path):
                continue
            if _is_one_of(path, question.inputs):
                raise InputError(f"{path} is in the way: it is an input of this run; choose another output folder")
            why = None if question.replace is Replace.EVERYTHING else self._why_not(path, record, question)
            if why is not None:
                raise InputError(
                    f"{path} is in the way: {why}; choose another output folder, or overwrite it (--overwrite)"
                )

    def _why_not(self, path: Path, record: Mapping[str, Any] | None, question: Question) -> str | None:
        """Why a file that is there must not be replaced; None where it may be."""
        if record is None or (path != self.record_path and path.name not in record["outputs"]):
            return "no record says that this program wrote it"
        if path != self.record_path and not is_unchanged(path, record["outputs"][path.name]):
            return "it was changed since this program wrote it"
        if question.replace is Replace.OWN:
            return None
        if record["input_sha256"] != question.input_sha256:
            return f"it is of another image, {record.get('input')}"
        return None if record["request"] == question.request else "it is of another request"

    def commit(self, staged: Sequence[Path], record: Mapping[str, Any], question: Question) -> list[Path]:
        """Move finished outputs into place, the record last.

        Args:
            staged: files in ``staging``, under their final names.
            record: with "outputs", see `build_record`.
            question: what they answer.

        Returns:
            The files, the record last.

        Raises:
            InputError: something is in the way, or cannot be written.
        """
        names = [path.name for path in staged]
        self.check(names, question)  # the networks took their time: a file may have come
        old = (read_record(self.record_path) or {"outputs": {}})["outputs"]
        staged_record = write_json(record, self.staging / self.record_path.name)
        write_text(self._journal, journal_text(self.stem, record["outputs"], old))
        try:
            self.record_path.unlink(missing_ok=True)
            for path in staged:
                os.replace(path, self.folder / path.name)
            for name in old.keys() - set(names):
                if is_unchanged(self.folder / name, old[name]):
                    remove(self.folder / name)
            os.replace(staged_record, self.record_path)
        except OSError as error:
            raise InputError(
                f"cannot write the outputs of {self.stem} in {self.folder}: {error.strerror or error}"
            ) from error
        remove(self._journal)
        return [*(self.folder / name for name in names), self.record_path]


def _is_one_of(path: Path, inputs: frozenset[Path]) -> bool:
    """Whether a file is one of the inputs, by whatever name."""
    if path.resolve() in inputs:
        return True
    with contextlib.suppress(OSError):
        return any(os.path.samefile(path, other) for other in inputs if other.name.casefold() == path.name.casefold())
    return False
