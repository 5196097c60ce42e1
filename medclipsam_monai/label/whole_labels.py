"""Images and labels of a folder, kept whole and with their names also where the server is killed meanwhile.

MONAI Label copies a file into its place and then writes its index: who is killed between leaves a label under the names
of the one before it. Here both lie in a hidden folder first, from which a server that is started again goes on.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore import local
from monailabel.interfaces.exception import MONAILabelException

from medclipsam_monai.base.files import PREFIX, clear_abandoned, remove, replace_folder, temporary_name
from medclipsam_monai.base.json_files import read_own_object, write_json
from medclipsam_monai.label.store_index import IndexedStore

logger = logging.getLogger(__name__)

_FOLDER, _RECORD = f"{PREFIX}submitted", "label.json"


class _WholeCopies:
    """``shutil`` whose copies appear whole or not at all."""

    def __getattr__(self, name: str) -> Any:
        return getattr(shutil, name)

    @staticmethod
    def copy(source: str, target: str) -> str:
        """As `shutil.copy` to a file; no name of an image shows before it is whole."""
        clear_abandoned(Path(target).parent)
        part = Path(target).with_name(temporary_name())
        try:
            shutil.copy(source, part)
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
        return target


def copy_whole() -> None:
    """Let MONAI Label's folder datastore copy so."""
    local.shutil = _WholeCopies()


def keep_label(store: IndexedStore, record: Mapping[str, Any], file: Path) -> str:
    """Put a label and what is said of it into a datastore.

    Args:
        store: the datastore; its own ``save_label`` may be another.
        record: "image", "tag" and "info" of the label.
        file: the label; it is copied.

    Returns:
        The label's id.

    Raises:
        InputError: the folder cannot be written.
    """

    def fill(folder: Path) -> None:
        shutil.copy(file, folder / file.name)
        write_json({**record, "file": file.name}, folder / _RECORD)

    with _lock(store):
        return _take(store, replace_folder(_folder(store), fill))


def finish_label(store: IndexedStore) -> None:
    """Keep the label in whose middle a server was killed, if there is one."""
    if not _folder(store).is_dir():
        return
    with _lock(store):
        if _folder(store).is_dir():
            try:
                _take(store, _folder(store))
            except (
                MONAILabelException,
                OSError,
                LookupError,
                TypeError,
            ) as error:  # its image is gone, or power failed
                logger.warning("a label that was submitted when the server ended is lost: %s", type(error).__name__)
                remove(_folder(store))


def _take(store: IndexedStore, folder: Path) -> str:
    record = read_own_object(folder / _RECORD) or {}
    file, info = str(folder / record["file"]), dict(record["info"])
    saved = IndexedStore.save_label(store, record["image"], file, record["tag"], info)
    remove(folder)
    return str(saved)


def _folder(store: IndexedStore) -> Path:
    return Path(store._datastore_path) / _FOLDER


def _lock(store: IndexedStore) -> FileLock:
    return FileLock(Path(store._datastore_path) / f"{_FOLDER}.lock")
