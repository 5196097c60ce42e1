"""A datastore's index of images and labels: changed by one thread at a time, written whole or not at all.

MONAI Label's is changed by requests and by the thread that watches the folder, each in the midst of the other.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import LocalDatastore

from medclipsam_monai.base.files import write_text


def _in_turn(name: str) -> Callable[..., Any]:
    """A method of `LocalDatastore` that waits until no other of them runs."""

    def method(self: IndexedStore, *args: Any, **kwargs: Any) -> Any:
        with self._turn:
            return getattr(super(IndexedStore, self), name)(*args, **kwargs)

    return method


class IndexedStore(LocalDatastore):
    """A `LocalDatastore` whose index many threads may read and change."""

    _turn: threading.RLock

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._turn = threading.RLock()
        super().__init__(*args, **kwargs)
        self._watch()

    def _watch(self) -> None:
        """See an index that is moved into its place."""
        if self._auto_reload:
            self._handler.on_moved = self._on_index_replaced

    def _on_index_replaced(self, event: Any) -> None:
        self._init_from_datastore_file()

    refresh = _in_turn("refresh")
    add_image = _in_turn("add_image")
    remove_image = _in_turn("remove_image")
    save_label = _in_turn("save_label")
    remove_label = _in_turn("remove_label")
    update_image_info = _in_turn("update_image_info")
    update_label_info = _in_turn("update_label_info")
    datalist = _in_turn("datalist")
    get_labels_by_image_id = _in_turn("get_labels_by_image_id")
    get_labeled_images = _in_turn("get_labeled_images")
    get_unlabeled_images = _in_turn("get_unlabeled_images")
    json = _in_turn("json")
    _init_from_datastore_file = _in_turn("_init_from_datastore_file")

    def status(self) -> dict[str, Any]:
        """How many images and labels there are, and labels by tag."""
        with self._turn:
            tags = Counter(tag for known in self._datastore.objects.values() for tag in known.labels)
        return {"total": len(self.list_images()), "completed": len(self.get_labeled_images()), "label_tags": tags}

    def _update_datastore_file(self, lock: bool = True) -> None:
        """As MONAI Label's, but a server that is killed meanwhile leaves the old index, not half of the new one."""
        with self._turn:
            content = json.dumps(self._datastore.model_dump(exclude={"base_path"}), indent=2, default=str)
            with FileLock(self._lock_file) if lock else nullcontext():
                write_text(Path(self._datastore_config_path), content)
                self._config_ts = os.stat(self._datastore_config_path).st_mtime
