from __future__ import annotations

import logging
import shutil
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.weights.download import DownloadError, fetch

SIZE = 1_500_000
CHUNK = 1 << 16  # what is written at a time
HALF = 10 * CHUNK


@pytest.fixture
def published(tmp_path):
    file = tmp_path / "server" / "model.bin"
    file.parent.mkdir()
    file.write_bytes(np.random.default_rng(4).bytes(SIZE))
    return file


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "deep" / "model.bin"


@pytest.fixture
def part(target):
    target.parent.mkdir(parents=True)
    return target.with_name("model.bin.part")


def get(server, target, sha256=None, size=SIZE):
    return fetch(server.url, target, size, sha256 or server.sha256, progress=False)


@pytest.mark.parametrize("manners", [{}, {"ranges": False}, {"tells_length": False}], ids=str)
def test_whole_file_arrives_and_nothing_is_left_beside_it(serve, published, target, manners):
    server = serve(published, **manners)
    assert get(server, target) == target
    assert target.read_bytes() == published.read_bytes()
    assert [p.name for p in target.parent.iterdir() if not p.name.endswith(".lock")] == ["model.bin"]
    assert server.asked == [None]


def test_progress_bar_goes_to_stderr(serve, published, target, capsys):
    server = serve(published)
    fetch(server.url, target, SIZE, server.sha256, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "model.bin" in err


def test_broken_connection_is_taken_up_where_it_stopped(serve, published, target):
    server = serve(published, breaks=[HALF + 100, CHUNK])
    get(server, target)
    assert server.asked == [None, f"bytes={HALF}-", f"bytes={HALF + CHUNK}-"]
    assert target.read_bytes() == published.read_bytes()


@pytest.mark.parametrize("ranges", [True, False])
def test_server_gone_half_way_keeps_what_arrived_for_the_next_call(serve, published, target, ranges):
    server = serve(published, ranges=ranges, breaks=[HALF, 0, 0])
    with pytest.raises(DownloadError, match=r"broke off: .*connection broke"):
        get(server, target)
    assert not target.exists()
    kept = target.with_name("model.bin.part").stat().st_size
    assert kept == (HALF if ranges else 0)
    server.breaks.clear()
    server.asked.clear()
    get(server, target)
    assert target.read_bytes() == published.read_bytes()
    assert server.asked == ([f"bytes={HALF}-"] if ranges else [None])


def test_server_that_forgot_ranges_sends_everything_again(serve, published, target, part):
    part.write_bytes(published.read_bytes()[:HALF])
    server = serve(published, ranges=False)
    get(server, target)
    assert server.asked == [f"bytes={HALF}-"]
    assert target.read_bytes() == published.read_bytes()


def test_complete_part_needs_no_server(published, target, part, serve):
    part.write_bytes(published.read_bytes())
    server = serve(published)
    get(server, target)
    assert server.asked == []
    assert target.exists() and not part.exists()


def test_part_longer_than_the_file_is_dropped(serve, published, target, part):
    part.write_bytes(b"x" * (SIZE + 1))
    get(serve(published), target)
    assert target.read_bytes() == published.read_bytes()


def test_file_with_another_hash_is_refused_and_deleted(serve, published, target, part):
    with pytest.raises(InputError, match=r"is not the published model\.bin: SHA-256 .*expected 0000"):
        get(serve(published), target, sha256="0" * 64)
    assert not target.exists() and not part.exists()


@pytest.mark.parametrize("length", [10, HALF, SIZE + 5])
def test_file_of_another_size_is_refused_and_the_part_stays(serve, published, target, part, length, tmp_path):
    begun = published.read_bytes()[:HALF]
    part.write_bytes(begun)
    other = tmp_path / "other.bin"
    other.write_bytes(b"y" * length)
    with pytest.raises(InputError, match="not the published file: it offers"):
        get(serve(other), target)
    assert part.read_bytes() == begun


def test_endless_answer_stops_at_the_expected_size(serve, target, part, tmp_path):
    endless = tmp_path / "endless.bin"
    endless.write_bytes(bytes(40 * SIZE))
    with pytest.raises(InputError, match="is not the published"):
        get(serve(endless, tells_length=False), target)
    assert not part.exists() and not target.exists()


@pytest.mark.parametrize(
    ("url", "status", "message"),
    [
        (None, 404, "answered 404 Not Found"),
        (None, 503, "answered 503"),
        ("http://127.0.0.1:9/model.bin", None, "it refuses the connection"),
        ("nonsense", None, "cannot be asked"),
    ],
)
def test_server_that_cannot_help_is_one_line(serve, published, target, url, status, message):
    with pytest.raises(DownloadError, match=message) as error:
        fetch(url or serve(published, status=status).url, target, SIZE, "0" * 64, progress=False)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_disk_that_fills_up_is_one_line(serve, published, target, part):
    part.symlink_to("/dev/full")  # every write fails as on a full disk
    with pytest.raises(InputError, match=r"the disk is full: model\.bin needs 1\.5 MB more") as error:
        get(serve(published), target)
    assert "\n" not in str(error.value)
    assert part.is_symlink()


def test_disk_without_room_is_found_before_the_download(serve, published, target, part, monkeypatch):
    begun = published.read_bytes()[:HALF]
    part.write_bytes(begun)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, SIZE - HALF - 1))
    with pytest.raises(InputError, match=r"needs 845 kB more .*655 kB that arrived are kept"):
        get(serve(published), target)
    assert part.read_bytes() == begun


def test_second_download_waits_says_so_and_asks_for_nothing(serve, published, target, caplog):
    hold = threading.Event()
    server = serve(published, hold=hold)
    waiting = threading.Event()

    class Waiting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            waiting.set()

    handler = Waiting()
    logging.getLogger("medclipsam_monai.weights.download").addHandler(handler)
    try:
        with ThreadPoolExecutor(2) as pool:
            both = [pool.submit(get, server, target) for _ in range(2)]
            assert waiting.wait(timeout=30)
            hold.set()
            assert [one.result(timeout=30) for one in both] == [target, target]
    finally:
        hold.set()
        logging.getLogger("medclipsam_monai.weights.download").removeHandler(handler)
    assert "another download of model.bin is under way" in caplog.text
    assert server.asked == [None]
    assert target.read_bytes() == published.read_bytes()


def test_file_already_there_is_checked_without_a_server(serve, published, target):
    target.parent.mkdir(parents=True)
    shutil.copy(published, target)
    server = serve(published)
    assert get(server, target) == target
    assert server.asked == []


def test_another_file_under_the_official_name_is_left_alone(serve, published, target):
    target.parent.mkdir(parents=True)
    target.write_bytes(b"my own")
    with pytest.raises(InputError, match="is not the published file"):
        get(serve(published), target)
    assert target.read_bytes() == b"my own"


def test_folder_that_cannot_be_is_one_line(serve, published, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError, match=r"cannot write model\.bin in .*file"):
        get(serve(published), tmp_path / "file" / "model.bin")
