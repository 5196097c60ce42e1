"""The outputs of one image at a store: brought to a folder of this machine, looked after there, and sent back.

So what holds in a folder holds there, by the same code (`open_outputs`): nothing is replaced that this package did not
write, and a record never stands beside outputs of another request. What changed is sent in the order of
`ImageOutputs.commit`: a journal, the old record away, the outputs, the new record, the journal away. Who comes after a
process that was killed between brings the journal, too, and with it what was left half-way is cleared.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import PREFIX, file_sha256
from medclipsam_monai.base.json_files import MAX_BYTES, read_own_object
from medclipsam_monai.io.outputs import ImageOutputs, journal_name, journal_text, open_outputs
from medclipsam_monai.io.records import is_base_name, read_record

_MOST_NAMES = 2000  # that a record may hold: 255 classes have four files each at most


class Files(Protocol):
    """What is asked of a store, see `RemoteStore`."""

    @property
    def shown(self) -> str:
        """What to call it in messages."""

    def sizes(self, names: Collection[str]) -> dict[str, int]:
        """Bytes of those of some files that are there."""

    def blocks(self, name: str) -> Iterator[bytes]:
        """A file's bytes, a block at a time."""

    def send(self, path: Path, name: str) -> None:
        """Put a file of this machine there."""

    def send_bytes(self, content: bytes, name: str) -> None:
        """Put a file there."""

    def remove(self, name: str) -> None:
        """Remove a file."""


@contextlib.contextmanager
def sent_outputs(store: Files, stem: str, names: Collection[str]) -> Iterator[ImageOutputs]:
    """Bring an image's outputs, and send what has become of them at the end of the block.

    Args:
        store: where they are.
        stem: how their names begin.
        names: those that may be written, all but the record's.

    Raises:
        InputError: see `open_outputs`; or the store cannot be read or written.
    """
    if not is_base_name(stem):
        raise InputError(f"outputs must begin with a plain name, got {stem!r}")
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        local = Path(folder)
        before = _bring(store, local, stem, names)
        try:
            with open_outputs(local, stem) as place:
                yield place
        except InputError as error:  # it names the folder here, which is nothing to the user
            raise InputError(str(error).replace(folder, store.shown)) from error
        _send(store, local, stem, before)


def _bring(store: Files, local: Path, stem: str, names: Collection[str]) -> dict[str, str]:
    """Bring what is there under an image's names: name -> hash of what is here of it.

    Of a file that no record and no journal knows, only that it is there matters: an empty one stands for it here.
    """
    own = f"{stem}.json", journal_name(stem)
    sizes = store.sizes((*own, *names))
    for name in own:
        if name in sizes:
            _copy(store, name, local, whole=sizes[name] <= MAX_BYTES)
    record, journal = read_record(local / own[0]) or {}, read_own_object(local / own[1]) or {}
    known = {name for told in (record, journal) if isinstance(told.get("outputs"), dict) for name in told["outputs"]}
    known = {name for name in known if is_base_name(name) and name.startswith(f"{stem}_")}
    if len(known) > _MOST_NAMES:  # of no image; nothing is fetched for it
        known = set()
    sizes |= store.sizes(known - set(names))
    for name in sizes.keys() - set(own):
        _copy(store, name, local, whole=name in known)
    return _hashes(local)


def _copy(store: Files, name: str, local: Path, whole: bool) -> None:
    with (local / name).open("wb") as file:
        for block in store.blocks(name) if whole else ():
            file.write(block)


def _hashes(local: Path) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in local.iterdir() if not path.name.endswith(".lock")}


def _send(store: Files, local: Path, stem: str, before: Mapping[str, str]) -> None:
    """Make the store's files those that are here."""
    after = _hashes(local)
    record, journal = f"{stem}.json", journal_name(stem)
    if after == before:
        return
    changed = [name for name in after if before.get(name) != after[name] and name not in (record, journal)]
    gone = before.keys() - after.keys() - {record, journal}
    if changed or gone or before.get(record) != after.get(record):
        outputs = [{name: told[name] for name in told if name not in (record, journal)} for told in (after, before)]
        store.send_bytes(journal_text(stem, *outputs).encode(), journal)
        if record in before:
            store.remove(record)
        for name in changed:
            store.send(local / name, name)
        for name in gone:
            store.remove(name)
        if record in after:
            store.send(local / record, record)
    store.remove(journal)
