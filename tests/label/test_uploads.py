"""What clients send: where it lies, under which names, and what is never opened."""

from __future__ import annotations

import bz2
import io
import os
import stat
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from fastapi import HTTPException
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.label.server.datastore import CheckedDatastore
from medclipsam_monai.label.server.detached import refuse_detached
from medclipsam_monai.label.server.sessions import CheckedSessions, unpack
from medclipsam_monai.label.server.uploads import Uploads, safe_name

PICTURE = np.random.default_rng(0).integers(0, 255, (20, 24), dtype=np.uint8)


@pytest.mark.parametrize(
    ("suffix", "kept"),
    [
        (".png", ".png"),
        (".nii.gz", ".nii.gz"),
        (".2.25.7.nii.gz", ".nii.gz"),
        ("", ""),
        (".p\0ng", ""),
        (".a/../../b", ""),
        ("." + "x" * 5000, ""),
        ("." + "x" * 5000 + ".png", ".png"),
        (".png ", ""),
        (".肺", ""),
    ],
)
def test_an_upload_has_a_name_of_its_own_and_only_a_plain_ending(suffix, kept):
    uploads = Uploads()
    first, second = (Path(uploads.new(suffix=suffix).name) for _ in range(2))
    assert first != second and first.parent == uploads.folder and len(first.name) == 32 + len(kept)
    assert first.name.endswith(kept) and uploads.holds(first) and not first.exists()


def test_the_folder_is_its_owners_alone_and_goes_with_the_app():
    uploads = Uploads()
    root = uploads.folder.parent
    assert stat.S_IMODE(root.stat().st_mode) == 0o700 and root.stat().st_uid == os.getuid()
    Path(uploads.new(".png").name).write_bytes(b"left behind")
    del uploads
    assert not root.exists()


def test_only_files_in_the_folder_are_uploads(tmp_path):
    uploads = Uploads()
    link = uploads.folder / "link.png"
    link.symlink_to("/etc/passwd")
    others = [tmp_path / "a.png", uploads.folder, uploads.folder.parent / "a.png", f"{uploads.folder}/../x/a.png", link]
    assert [uploads.holds(path) for path in others] == [False] * 5


def test_what_a_failed_request_left_is_removed_after_an_hour():
    uploads = Uploads()
    old, new = Path(uploads.new(".png").name), Path(uploads.new(".png").name)
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (time.time() - 3700,) * 2)
    uploads.new()
    assert not old.exists() and new.exists()


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\a.png", "a.png"),
        ("..", "file"),
        ("", "file"),
        ("/", "file"),
        ("a\0b.png", "a_b.png"),
        ("x" * 300 + ".nii.gz", "x" * 93 + ".nii.gz"),
        ("肺.dcm", "_.dcm"),
        ("IM0001", "IM0001"),
    ],
)
def test_a_clients_name_is_made_one_of_a_file(sent, name):
    assert safe_name(sent) == name


def nrrd(*lines: str) -> bytes:
    fields = ["NRRD0004", "type: uchar", "dimension: 2", "sizes: 24 20", "encoding: raw", *lines]
    return "\n".join(fields).encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.nrrd", nrrd("data file: other.raw", "", "")),
        ("a.nrrd", nrrd("Data File: /etc/passwd", "", "")),
        ("a.nrrd", nrrd("datafile: LIST", "/etc/passwd", "", "")),
        ("a.nrrd", nrrd("datafile : x.raw", "", "").replace(b"\n", b"\r\n")),
        ("a.nhdr", nrrd("data file: ./x.raw")),
        ("renamed.png", nrrd("data file: x.raw", "", "")),
        ("a.nrrd", nrrd(*["# padding" * 20] * 10_000, "data file: x.raw", "", "")),
        ("a.mhd", b"ObjectType = Image\nNDims = 2\nDimSize = 24 20\nElementDataFile = other.raw\n"),
        ("a.mha", b"ObjectType = Image\r\nElementDataFile = ../../x.raw\r\n"),
        ("a.MHA", b"NDims = 2\nelementdatafile: LIST\n/etc/passwd\n"),
        ("a.mha", b"NDims = 2\nElementDataFile = LOCAL\nElementDataFile = /etc/passwd\n"),
        ("a.mha", b"Comment = x\n" * 200_000 + b"ElementDataFile = x.raw\n"),
    ],
)
@pytest.mark.parametrize("in_folder", [False, True])
def test_headers_without_their_pixels_are_refused(tmp_path, name, content, in_folder):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: its pixels lie in another file, which is not followed here"):
        refuse_detached(tmp_path if in_folder else tmp_path / name)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.nii.gz", "a.png"])
def test_whole_files_pass(tmp_path, name):
    sitk.WriteImage(sitk.GetImageFromArray(PICTURE), str(tmp_path / name))
    refuse_detached(tmp_path / name)
    refuse_detached(tmp_path)


def test_a_key_of_that_name_is_no_field(tmp_path):
    (tmp_path / "a.nrrd").write_bytes(nrrd("data file:=said in a comment", "", "") + PICTURE.tobytes())
    refuse_detached(tmp_path / "a.nrrd")


def test_a_datastore_serves_no_link_to_elsewhere_and_no_header_without_pixels(tmp_path):
    studies = tmp_path / "studies"
    studies.mkdir()
    Image.fromarray(PICTURE).save(tmp_path / "secret.png")
    Image.fromarray(PICTURE).save(studies / "inside.png")
    (studies / "out.png").symlink_to(tmp_path / "secret.png")
    (studies / "alias.png").symlink_to(studies / "inside.png")
    (studies / "detached.nrrd").write_bytes(nrrd("data file: ../secret.png", "", ""))
    store = CheckedDatastore(str(studies), auto_reload=False)
    assert sorted(store.list_images()) == ["alias", "inside"]
    (studies / "inside.png").unlink()
    (studies / "inside.png").symlink_to(tmp_path / "secret.png")  # after it was listed
    assert store.get_image_uri("inside") == ""
    with pytest.raises(HTTPException) as raised:
        store.remove_image("inside")
    assert raised.value.status_code == 404 and (tmp_path / "secret.png").exists()


def test_a_linked_label_is_not_served(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    store = CheckedDatastore(str(tmp_path), auto_reload=False)
    Image.fromarray(PICTURE % 2).save(tmp_path / "label.png")
    store.save_label("a", str(tmp_path / "label.png"), "final", {})
    assert store.datalist() == [
        {"image": str(tmp_path / "a.png"), "label": str(tmp_path / "labels" / "final" / "a.png")}
    ]
    (tmp_path / "labels" / "final" / "a.png").unlink()
    (tmp_path / "labels" / "final" / "a.png").symlink_to("/etc/passwd")
    assert store.get_label_uri("a", "final") == "" and store.datalist() == []


def test_what_is_known_of_no_image_or_label_is_not_added_to(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    store = CheckedDatastore(str(tmp_path), auto_reload=False)
    store.update_image_info("a", {"score": 1})
    assert store.get_image_info("a")["score"] == 1
    for call in (
        lambda: store.update_image_info("../a", {"score": 1}),
        lambda: store.update_label_info("a", "final", {"label_info": []}),
    ):
        with pytest.raises(HTTPException) as raised:
            call()
        assert raised.value.status_code == 404


@pytest.fixture
def sessions(tmp_path) -> CheckedSessions:
    return CheckedSessions(str(tmp_path / "sessions"))


def test_a_session_is_found_by_its_own_name_only(tmp_path, sessions):
    (tmp_path / "a.png").write_bytes(b"x")
    name, info = sessions.add_session(str(tmp_path / "a.png"))
    assert sessions.get_session(name).image == info.image == str(tmp_path / "sessions" / name / "a.png")
    nested = tmp_path / "sessions" / name / "inner"
    nested.mkdir()
    (nested / "meta.info").write_text('{"name": "x", "image": "/etc/passwd"}')
    for wrong in (f"{name}/inner", "..", "../sessions", "", None, 7, name.upper() + "/"):
        assert sessions.get_session(wrong) is None
        sessions.remove_session(wrong)
    assert nested.exists()
    sessions.remove_session(name)
    assert not nested.exists()


def test_a_session_whose_image_lies_elsewhere_is_none(tmp_path, sessions):
    (tmp_path / "a.png").write_bytes(b"x")
    name, _ = sessions.add_session(str(tmp_path / "a.png"))
    (tmp_path / "sessions" / name / "meta.info").write_text('{"name": "x", "image": "/etc/passwd"}')
    sessions.clear()
    assert sessions.get_session(name) is None


def as_tar(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for entry, content in entries:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def as_zip(entries: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in entries.items():
            packed.writestr(name, content)
    return file.getvalue()


def link(name: str, target: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    return entry


@pytest.mark.parametrize(
    "content",
    [as_zip({"series/1.dcm": b"one", "series/2.dcm": b"two"}), as_tar((tarfile.TarInfo("series/1.dcm"), b"one"))],
)
def test_an_archive_is_unpacked_into_its_session(tmp_path, sessions, content):
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "series.bin").write_bytes(content)
    name, info = sessions.add_session(str(tmp_path / "up" / "series.bin"), uncompress=True)
    assert Path(info.image).parent == tmp_path / "sessions" / name
    assert (Path(info.image) / "series" / "1.dcm").read_bytes() == b"one"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (as_tar((tarfile.TarInfo("../escaped"), b"x")), "OutsideDestinationError"),
        (as_tar((link("out", "/etc"), b"")), "AbsoluteLinkError"),
        (as_tar((link("out", "../.."), b"")), "LinkOutsideDestinationError"),
        (b"neither zip nor tar", "ReadError"),
        (as_zip({"a": b"x" * 1000})[:60], "ReadError"),
        (as_zip({"a": b"\0" * 5000}), "holds 1 files of 5,000 bytes; at most 20,000 files and 4,000 bytes"),
        (as_zip({str(n): b"" for n in range(20_001)}), "holds 20,001 files"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "content",
)
def test_an_archive_that_leads_elsewhere_or_is_too_large_is_refused(tmp_path, sessions, monkeypatch, content, words):
    monkeypatch.setenv("MEDCLIPSAM_MAX_VOXELS", "1000")
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "a.bin").write_bytes(content)
    with pytest.raises(HTTPException) as raised:
        sessions.add_session(str(tmp_path / "up" / "a.bin"), uncompress=True)
    assert raised.value.status_code == 422 and words in raised.value.detail and "\n" not in raised.value.detail
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.bin", "up"]


def tar_header(kind: bytes, size: int) -> bytes:
    """The first block of an entry, its size as it may stand there beyond octal digits."""
    entry = tarfile.TarInfo("a")
    entry.type = kind
    block = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = (b"\x80" if size >= 0 else b"\xff") + size.to_bytes(11, "big", signed=True)
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:]))
    return bytes(block)


@pytest.mark.parametrize(
    ("kind", "size", "words"),
    [
        (tarfile.REGTYPE, 10**15, "holds 1 files of 1,000,000,000,000,000 bytes"),
        (tarfile.REGTYPE, -(10**9), "an entry of -1,000,000,000 bytes that is no file"),
        (tarfile.XHDTYPE, 10**8, "an entry of 100,000,000 bytes that is no file"),
        (tarfile.GNUTYPE_LONGNAME, 10**8, "an entry of 100,000,000 bytes that is no file"),
    ],
)
def test_an_entry_is_refused_before_it_is_decompressed(tmp_path, kind, size, words):
    packer = bz2.BZ2Compressor()
    parts = [packer.compress(tar_header(kind, size)), *(packer.compress(bytes(2**20)) for _ in range(100))]
    (tmp_path / "a.bin").write_bytes(b"".join(parts) + packer.flush())
    start = time.process_time()
    with pytest.raises(InputError, match=words):
        unpack(tmp_path / "a.bin", tmp_path / "to")
    assert time.process_time() - start < 0.2


@pytest.mark.parametrize(
    "content",
    [
        nrrd("content: x\x0bdata file: other.raw", "", ""),
        nrrd("content: x\rda ta file: other.raw", "", ""),
        nrrd("sizes: 9 9", "", ""),
        b"NRRD0004\ntype: uchar\n\n" + bytes(480),
    ],
)
def test_what_its_reader_would_follow_or_find_damaged_is_refused_too(tmp_path, content):
    (tmp_path / "a.nrrd").write_bytes(content)
    (tmp_path / "other.raw").write_bytes(PICTURE.tobytes())
    with pytest.raises(InputError, match=r"a\.nrrd: "):
        refuse_detached(tmp_path / "a.nrrd")


def test_a_zip_cannot_leave_its_folder(tmp_path, sessions):
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "a.bin").write_bytes(as_zip({"../../escaped": b"x", "/absolute": b"y"}))
    _, info = sessions.add_session(str(tmp_path / "up" / "a.bin"), uncompress=True)
    assert sorted(path.name for path in Path(info.image).iterdir()) == ["absolute", "escaped"]
    assert not list(tmp_path.glob("escaped")) and not Path("/absolute").exists()
