"""An archive's outputs on stores that pyarrow reaches: a small S3 of our own, memory, a folder by its URL."""

from __future__ import annotations

import hashlib
import json
import pickle
from itertools import count
from pathlib import Path

import pytest
from fake_s3 import BUCKET, SECRET, fake_s3
from pyarrow import parquet

from medclipsam_monai import TextSegmenter
from medclipsam_monai.archive.parts import TableParts, schema_of
from medclipsam_monai.archive.rows import OWN
from medclipsam_monai.archive.sources import list_images
from medclipsam_monai.archive.stages import Networks, Reading, Writing, works_of
from medclipsam_monai.archive.stores import remote
from medclipsam_monai.archive.stores.remote import RemoteStore
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import file_sha256
from medclipsam_monai.io.outputs import Replace, journal_name, journal_text
from medclipsam_monai.zero_shot.batch import segment_files
from medclipsam_monai.zero_shot.one_image.steps import ImageSteps
from medclipsam_monai.zero_shot.output_files import OutputFiles

FILES, NAME = OutputFiles(overlay=True), "ct_chest"
NUMBERS = count()


@pytest.fixture(scope="module")
def tiny(tiny_preset) -> TextSegmenter:
    return TextSegmenter.from_preset(tiny_preset, "cpu")


@pytest.fixture(scope="module")
def server():
    with fake_s3() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.variables.items():
            patch.setenv(name, value)
        yield running


@pytest.fixture
def bucket(server):
    """The server with nothing on it, and a store in a folder of its bucket."""
    server.objects.clear()
    server.requests.clear()
    server.denied, server.fail_after = set(), None
    url = f"s3://{BUCKET}/some/out"
    return server, RemoteStore(url, url)


@pytest.fixture(params=["memory", "file", "fsspec+file"])
def other(request, tmp_path):
    if request.param == "memory":
        url = f"fsspec+memory://archive{next(NUMBERS)}/out"
    else:
        url = f"{request.param}://{tmp_path}/there"
    return RemoteStore(url, url)


def steps_of(segmenter, text="lungs", replaced=Replace.SAME_REQUEST, files=FILES):
    return (ImageSteps(segmenter.request(text, **files.values), files, replaced),)


def through(segmenter, source, store, steps):
    items = list_images(source).items
    reading, writing = (pickle.loads(pickle.dumps(stage(store, steps))) for stage in (Reading, Writing))
    return [writing(*Networks(segmenter, steps)([reading(work)])) for work in works_of(items, [0] * len(items))]


def content_of(store, names):
    return {name: b"".join(store.blocks(name)) for name in store.sizes(names)}


def plain_files(server):
    return {key.removeprefix("some/out/"): content for key, content in server.files().items()}


def assert_whole(server):
    """A record is there only beside the outputs that it names, as it names them."""
    there = plain_files(server)
    for record in (json.loads(there[name]) for name in there if name.endswith(".json")):
        assert {name: hashlib.sha256(there[name]).hexdigest() for name in record["outputs"]} == record["outputs"]


def same(one, other):
    return {name: strip(content) for name, content in one.items()} == {
        name: strip(content) for name, content in other.items()
    }


def strip(content):
    return {**json.loads(content), "seconds": 0} if content.startswith(b"{") else content


def from_segment(segmenter, source, folder, text="lungs", files=FILES):
    segment_files(segmenter, [source], text, folder, files=files)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_is_there_byte_by_byte_whatever_its_name(bucket, other):
    server, store = bucket
    names = ("a.nii.gz", "b.bz2", "c.zst", "d.lz4", "e.json")
    for name in names:
        store.send_bytes(b"as it is", name)
        other.send_bytes(b"as it is", name)
    assert plain_files(server) == content_of(store, names) == content_of(other, names)
    assert set(plain_files(server).values()) == {b"as it is"}
    if "memory" not in other.url:
        folder = Path(other.url.partition("://")[2])
        assert {name: (folder / name).read_bytes() for name in names} == plain_files(server)


def test_on_s3_are_the_files_of_segment_and_they_are_found_again(tiny, pictures, bucket, tmp_path):
    server, store = bucket
    store.prepare()
    expected = from_segment(tiny, pictures, tmp_path)
    first = through(tiny, pictures, store, steps_of(tiny))
    assert len(expected) == 12 and same(plain_files(server), expected)
    assert sorted(work.error for work in first)[-1].startswith(str(pictures / "broken.png"))
    puts = [key for method, key in server.requests if method == "PUT" and NAME in key]
    assert puts[-1] == f"some/out/{NAME}.json"
    server.requests.clear()
    again = through(tiny, pictures, store, steps_of(tiny))
    assert [work.skipped for work in again] == [not work.error for work in again]
    assert {method for method, _ in server.requests} <= {"GET", "HEAD"}


def test_other_file_systems_take_them_too(tiny, pictures, other, tmp_path):
    other.prepare()
    expected = from_segment(tiny, pictures / f"{NAME}.png", tmp_path / "one")
    for skipped in (False, True):
        (work,) = through(tiny, pictures / f"{NAME}.png", other, steps_of(tiny))
        assert (work.error, work.skipped) == ("", skipped)
    assert same(content_of(other, expected), expected)
    table = TableParts(other, schema_of(OWN, {}))
    table.add([dict.fromkeys(OWN) | {"path": "a", "name": "a"}])
    assert rows(other) == [("a", None)]


@pytest.mark.parametrize("before", ["nothing", "another request"])
def test_cut_off_at_any_change_nothing_is_torn_and_the_next_run_finishes(tiny, pictures, bucket, tmp_path, before):
    server, store = bucket
    image = pictures / f"{NAME}.png"
    old = OutputFiles(save_saliency=True)
    expected = from_segment(tiny, image, tmp_path)
    replaced = Replace.SAME_REQUEST if before == "nothing" else Replace.OWN
    if before == "another request":
        through(tiny, image, store, steps_of(tiny, "heart", files=old))
        assert len(plain_files(server)) == 5
    start = dict(server.objects)
    for cut in count():
        server.objects = dict(start)
        server.fail_after = cut
        (work,) = through(tiny, image, store, steps_of(tiny, replaced=replaced))
        server.fail_after = None
        assert_whole(server)
        (finished,) = through(tiny, image, store, steps_of(tiny, replaced=replaced))
        assert finished.error == ""
        assert same(plain_files(server), expected), cut
        if not work.error:
            assert cut >= 5
            return
        assert "cannot write" in work.error or "cannot remove" in work.error


def test_what_is_not_ours_stays_unless_it_is_to_be_overwritten(tiny, pictures, bucket):
    server, store = bucket
    image, mine = pictures / f"{NAME}.png", f"some/out/{NAME}_mask.png"
    server.objects[mine] = b"mine"
    (work,) = through(tiny, image, store, steps_of(tiny))
    assert f"{image}: {store.shown}/{NAME}_mask.png is in the way: no record says" in work.error
    assert server.files() == {mine: b"mine"}
    (work,) = through(tiny, image, store, steps_of(tiny, replaced=Replace.EVERYTHING))
    assert work.error == "" and server.objects[mine] != b"mine"
    changed = server.objects[mine] = server.objects[mine] + b"0"
    (work,) = through(tiny, image, store, steps_of(tiny))
    assert "it was changed since this program wrote it" in work.error and server.objects[mine] == changed


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "other.png", f"{NAME}_x/../../../secret.png"])
@pytest.mark.parametrize("told", ["record", "journal"])
def test_names_that_a_file_at_the_destination_holds_lead_nowhere(tiny, pictures, bucket, name, told, tmp_path):
    server, store = bucket
    image = pictures / f"{NAME}.png"
    through(tiny, image, store, steps_of(tiny))
    server.objects |= {"some/secret.png": b"x", "some/out/other.png": b"x"}
    record = json.loads(server.objects[f"some/out/{NAME}.json"])
    hashes = {name: file_sha256(write(tmp_path / "x", b"x"))}
    if told == "record":
        record["outputs"] |= hashes
        server.objects[f"some/out/{NAME}.json"] = json.dumps(record).encode()
    else:
        del server.objects[f"some/out/{NAME}.json"]
        server.objects[f"some/out/{journal_name(NAME)}"] = journal_text(NAME, record["outputs"] | hashes, {}).encode()
    server.requests.clear()
    through(tiny, image, store, steps_of(tiny, replaced=Replace.OWN))
    assert server.objects["some/secret.png"] == server.objects["some/out/other.png"] == b"x"
    assert not [key for _, key in server.requests if "secret" in key or "etc" in key or "other" in key]


def write(path, content):
    path.write_bytes(content)
    return path


def test_a_table_that_is_cut_off_at_any_change_has_no_row_twice(bucket):
    server, store = bucket
    schema = schema_of(OWN, {})

    def row(name, state):
        return dict.fromkeys(OWN) | {"path": name, "name": name, "state": state}

    for cut in count():
        server.objects.clear()
        TableParts(store, schema).add([row("a", "failed"), row("b", "failed")])
        TableParts(store, schema).add([row("c", "failed")])
        new = [row("b", "done"), row("c", "done")]
        server.fail_after, failed = cut, False
        try:
            TableParts(store, schema).add(new)
        except InputError:
            failed = True
        server.fail_after = None
        assert len(rows(store)) == len(dict(rows(store)))
        table = TableParts(store, schema)
        table.add([one for one in new if one not in table])
        assert rows(store) == [("a", "failed"), ("b", "done"), ("c", "done")]
        if not failed:
            assert cut >= 3
            return


def rows(store):
    tables = [parquet.read_table(store.read_part(name)).to_pylist() for name in store.parts()]
    return sorted((row["name"], row["state"]) for table in tables for row in table)


def test_a_store_that_refuses_is_one_line(bucket, monkeypatch):
    server, store = bucket
    assert refusal(store=RemoteStore("s3://nowhere/out", "s3://nowhere/out")).startswith("s3://nowhere/out: ")
    assert "NO_SUCH_BUCKET" in refusal(store=RemoteStore("s3://nowhere/a", "s3://nowhere/a"))
    for methods in ({"PUT", "POST"}, {"DELETE"}):
        server.denied = methods
        assert "ACCESS_DENIED" in refusal(store)
    assert "nosuch" in refusal(RemoteStore("nosuch://x/y", "nosuch://x/y"))
    assert "nosuch" in refusal(RemoteStore("fsspec+nosuch://x/y", "x"))
    remote._opened.cache_clear()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    assert "INVALID_ACCESS_KEY_ID" in refusal(store)
    remote._opened.cache_clear()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "NETWORK_CONNECTION" in refusal(store)
    remote._opened.cache_clear()


def refusal(store):
    with pytest.raises(InputError) as error:
        store.prepare()
    assert "\n" not in str(error.value) and SECRET not in str(error.value)
    return str(error.value)
