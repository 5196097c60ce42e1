"""Labels and images of a server that is killed while it takes them: whole, and under their own names."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from label_server import as_png
from monailabel.datastore import local
from monailabel.datastore.local import LocalDatastore
from PIL import Image

from medclipsam_monai.label.server.datastore import CheckedDatastore
from medclipsam_monai.label.tasks.submitted import submitted_labels
from medclipsam_monai.label.tasks.training_labels import class_numbers

SHAPE = (20, 30)
LUNGS, HEART = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
LUNGS[:, :10], HEART[5:15, 12:20] = 1, 1


def submit(folder: Path, mask: np.ndarray, name: str) -> None:
    store = CheckedDatastore(str(folder), auto_reload=False)
    (folder.parent / "sent.png").write_bytes(as_png(mask))
    said = {"label_info": [{"name": name, "idx": 1}]}
    store.save_label("image", str(folder.parent / "sent.png"), "final", said)


def killed_at(step: str, folder: Path) -> None:
    """In a process of its own: submit a heart, and die at a step."""

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    store = CheckedDatastore(str(folder), auto_reload=False)
    if step == "before the file":
        local.shutil.copy = die
    elif step == "between file and index":
        CheckedDatastore._update_datastore_file = die
    elif step == "after the index":
        LocalDatastore.save_label = _then(LocalDatastore.save_label, die)
    (folder.parent / "sent.png").write_bytes(as_png(HEART))
    store.save_label("image", str(folder.parent / "sent.png"), "final", {"label_info": [{"name": "heart", "idx": 1}]})


def _then(first: object, second: object) -> object:
    def both(*args: object) -> None:
        first(*args)  # type: ignore[operator]
        second()  # type: ignore[operator]

    return both


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "image.png").write_bytes(as_png(np.zeros(SHAPE, np.uint8)))
    submit(tmp_path / "studies", LUNGS, "lungs")
    return tmp_path / "studies"


@pytest.mark.parametrize("step", ["before the file", "between file and index", "after the index"])
def test_a_label_in_whose_middle_the_server_is_killed_has_its_own_names(folder, step):
    process = multiprocessing.get_context("fork").Process(target=killed_at, args=(step, folder))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (one,) = submitted_labels(CheckedDatastore(str(folder), auto_reload=False))
    with Image.open(one.label) as file:
        np.testing.assert_array_equal(class_numbers(np.asarray(file), one.label_info, ["lungs", "heart"]), 2 * HEART)
    index = json.loads((folder / "datastore_v2.json").read_text())
    assert [entry["name"] for entry in index["objects"]["image"]["labels"]["final"]["info"]["label_info"]] == ["heart"]
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["labels"]
    submit(folder, LUNGS, "lungs")
    (one,) = submitted_labels(CheckedDatastore(str(folder), auto_reload=False))
    with Image.open(one.label) as file:
        np.testing.assert_array_equal(class_numbers(np.asarray(file), one.label_info, ["lungs", "heart"]), LUNGS)


def test_a_copy_that_is_cut_short_is_no_image_and_no_label(folder, tmp_path, monkeypatch):
    def half(source: str, target: str) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:40])
        raise OSError(28, "No space left on device")

    store = CheckedDatastore(str(folder), auto_reload=False)
    (tmp_path / "new.png").write_bytes(as_png(HEART))
    before = (folder / "labels" / "final" / "image.png").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy", half)
        for call in (
            lambda: store.add_image("new", str(tmp_path / "new.png"), {}),
            lambda: LocalDatastore.save_label(store, "image", str(tmp_path / "new.png"), "final", {}),
        ):
            with pytest.raises(OSError, match="No space"):
                call()
    fresh = CheckedDatastore(str(folder), auto_reload=False)
    assert fresh.list_images() == ["image"] and (folder / "labels" / "final" / "image.png").read_bytes() == before
    assert not list(folder.rglob("*.part*"))


def test_a_label_whose_image_is_gone_keeps_no_server_from_starting(folder):
    process = multiprocessing.get_context("fork").Process(target=killed_at, args=("before the file", folder))
    process.start()
    process.join()
    (folder / "image.png").unlink()
    store = CheckedDatastore(str(folder), auto_reload=False)
    assert store.list_images() == [] and sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["labels"]
