"""A folder is replaced whole or not at all; a file's hash is that of its bytes."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import clear_abandoned, file_sha256, replace_folder, size_text


def fill(part):
    (part / "new").write_text("new")


def test_a_folder_takes_the_place_of_the_one_before(tmp_path):
    folder = tmp_path / "above" / "folder"
    for _ in range(2):
        assert replace_folder(folder, fill) == folder
        assert [path.name for path in folder.iterdir()] == ["new"]
        (folder / "new").rename(folder / "old")
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]


@pytest.mark.parametrize("fails", ["fill", "second rename"])
def test_what_was_there_stays_where_the_new_folder_cannot_be_made(tmp_path, monkeypatch, fails):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_text("old")
    full, rename = OSError(28, "No space left on device"), os.replace

    def fail(*_):
        raise full

    def replace(source, target):
        if (os.path.exists(os.path.join(source, "new"))) and target == folder:
            raise full
        rename(source, target)

    if fails == "second rename":
        monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(InputError, match=r"^cannot write folder in .*: No space left on device$"):
        replace_folder(folder, fail if fails == "fill" else fill)
    assert (folder / "old").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_hash_of_a_file_is_that_of_all_its_bytes(tmp_path):
    content = bytes(range(256)) * 10_000  # more than one block
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("size", "text"),
    [(12, "12 bytes"), (1000, "1.0 kB"), (375042383, "375 MB"), (783705670, "784 MB"), (2564550879, "2.6 GB")],
)
def test_sizes_read_as_people_write_them(size, text):
    assert size_text(size) == text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a child of its own")
@pytest.mark.parametrize("rename", [0, 1])
def test_a_killed_writer_of_a_folder_loses_nothing_and_leaves_nothing(tmp_path, rename):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_text("old")
    child = os.fork()
    if child == 0:
        renames, real = [], os.replace

        def killed(source, target):
            if len(renames) == rename:
                os.kill(os.getpid(), signal.SIGKILL)
            renames.append(target)
            real(source, target)

        os.replace = killed
        replace_folder(folder, fill)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    clear_abandoned(tmp_path)  # as the next run on that folder does

    def full(_):
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left"):
        replace_folder(folder, full)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert [path.name for path in folder.iterdir()] == ["old"]
    replace_folder(folder, fill)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert [path.name for path in folder.iterdir()] == ["new"]


def test_a_folder_without_a_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (Path("."), Path("..")):
        with pytest.raises(InputError, match="give it by its name"):
            replace_folder(path, fill)
    assert list(tmp_path.iterdir()) == []
