"""The index of a datastore, read and changed by many threads at once."""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from label_server import as_png

from medclipsam_monai.label.store_index import IndexedStore

COUNT, TAGS = 6, ("final", "original", "one", "two", "three", "four")


@pytest.fixture
def store(tmp_path, monkeypatch):
    picture = as_png(np.zeros((4, 4), np.uint8))
    (tmp_path / "studies").mkdir()
    for number in range(COUNT):
        (tmp_path / "studies" / f"{number}.png").write_bytes(picture)
    (tmp_path / "sent.png").write_bytes(picture)
    store = IndexedStore(str(tmp_path / "studies"), extensions=("*.png",), auto_reload=False)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns within nearly every line
    yield store
    sys.setswitchinterval(before)


def test_threads_lose_no_label_and_stumble_over_none(store, tmp_path):
    done = threading.Event()

    def refresh_and_read() -> None:
        while not done.is_set():
            store.refresh()
            assert len(store.datalist(full_path=False)) <= COUNT
            assert store.status()["total"] == COUNT
            assert len(store.get_labeled_images()) + len(store.get_unlabeled_images()) <= COUNT

    def save(tag: str) -> None:
        for number in range(COUNT):
            store.save_label(str(number), str(tmp_path / "sent.png"), tag, {"tag": tag, "number": number})
            store.update_image_info(str(number), {f"score {tag}": number})

    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(refresh_and_read) for _ in range(2)]
        writers = [pool.submit(save, tag) for tag in TAGS]
        for writer in writers:
            writer.exception()  # waits; what it raised is asked for below
        done.set()
    for future in (*readers, *writers):
        future.result()
    index = json.loads((Path(store._datastore_path) / "datastore_v2.json").read_text())
    for number in range(COUNT):
        known = index["objects"][str(number)]
        assert {tag: known["labels"][tag]["info"]["tag"] for tag in TAGS} == {tag: tag for tag in TAGS}
        assert {tag: known["image"]["info"][f"score {tag}"] for tag in TAGS} == dict.fromkeys(TAGS, number)
    assert store.status() == {"total": COUNT, "completed": COUNT, "label_tags": dict.fromkeys(TAGS, COUNT)}
