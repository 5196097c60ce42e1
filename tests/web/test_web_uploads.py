"""What a browser may send: files, several files and zip files, and what of them is refused before it is unpacked."""

from __future__ import annotations

import shutil
import stat
import zipfile

import numpy as np
import pytest

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.phantoms.samples import sample_pictures
from medclipsam_monai.phantoms.seeds import VOLUMES
from medclipsam_monai.phantoms.volumes import make_phantom_volume
from medclipsam_monai.phantoms.volumes.saving import write_phantom_volume_series
from medclipsam_monai.web.uploads import unpack
from medclipsam_monai.web.uploads.intake import safe_name, take
from medclipsam_monai.web.uploads.unpack import unpack_zip

MOST = 10**7


@pytest.fixture
def sent(tmp_path):
    folder = tmp_path / "sent"
    folder.mkdir()
    return folder


def zipped(path, *entries: tuple[str, bytes]):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in entries:
            packed.writestr(name, content)
    return path


def test_a_zip_file_gives_its_files_without_the_hidden_ones(tmp_path, sent):
    archive = zipped(sent / "a.zip", ("one/a.txt", b"a"), ("b.txt", b"b"), ("__MACOSX/._a", b"x"), (".hidden", b"x"))
    out = tmp_path / "out"
    out.mkdir()
    unpack_zip(archive, out, MOST)
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()) == ["b.txt", "one/a.txt"]


@pytest.mark.parametrize(
    "name", ["../up.png", "a/../../up.png", "/root.png", "C:\\up.png", "..\\up.png", "a\\..\\b.png"]
)
def test_a_zip_file_with_paths_to_elsewhere_is_refused(tmp_path, sent, name):
    archive = zipped(sent / "a.zip", (name, b"x"))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InputError, match="a path that leads out of it"):
        unpack_zip(archive, out, MOST)
    assert list(tmp_path.rglob("*.png")) == []


def test_a_zip_file_with_a_link_a_password_or_two_files_of_one_name_is_refused(tmp_path, sent):
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(sent / "link.zip", "w") as packed:
        packed.writestr(link, "/etc/passwd")
    locked = bytearray(zipped(sent / "locked.zip", ("a.png", b"x")).read_bytes())
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    (sent / "locked.zip").write_bytes(locked)
    with pytest.warns(UserWarning, match="Duplicate"):
        zipped(sent / "twice.zip", ("a.png", b"x"), ("a.png", b"y"))
    for name, line in (("link", "holds a link"), ("locked", "by a password"), ("twice", "is damaged")):
        (tmp_path / name).mkdir()
        with pytest.raises(InputError, match=line):
            unpack_zip(sent / f"{name}.zip", tmp_path / name, MOST)


def test_a_zip_file_with_millions_of_entries_is_refused_by_the_size_of_its_list(tmp_path, sent, monkeypatch):
    archive = zipped(sent / "a.zip", *((f"{number}.txt", b"") for number in range(3)))
    monkeypatch.setattr(unpack, "_MOST_LISTED", 3 * (46 + len("0.txt")) - 1)
    with pytest.raises(InputError, match=r"a\.zip: lists too many files, at most 20,000 are unpacked"):
        unpack_zip(archive, tmp_path, MOST)
    monkeypatch.setattr(unpack, "_MOST_LISTED", 3 * (46 + len("0.txt")))
    unpack_zip(archive, tmp_path, MOST)
    assert (tmp_path / "2.txt").exists()


def test_a_zip_file_that_becomes_too_large_is_refused_unread(tmp_path, sent, monkeypatch):
    archive = zipped(sent / "a.zip", ("a.raw", bytes(3_000_000)))
    with pytest.raises(InputError, match=r"at most 2\.0 MB"):
        unpack_zip(archive, tmp_path, 2_000_000)
    monkeypatch.setattr(unpack, "SMALL", 1_000_000)
    with pytest.raises(InputError, match="100 times its own size"):
        unpack_zip(archive, tmp_path, MOST)
    monkeypatch.setattr(unpack, "MOST_FILES", 1)
    with pytest.raises(InputError, match="holds 2 files, at most 1"):
        unpack_zip(zipped(sent / "b.zip", ("a", b""), ("b", b"")), tmp_path, MOST)
    assert list(tmp_path.glob("*.raw")) == []


def test_a_single_file_keeps_its_name_even_one_that_outputs_have(tmp_path, sent):
    path = shutil.copy(sample_pictures()["xray_normal"], sent / "chest_mask.png")
    (source,) = take([path], tmp_path / "in", MOST).sources
    assert (source.stem, source.name) == ("chest_mask", "chest_mask.png")


@pytest.mark.parametrize("links", [True, False])
def test_two_visitors_may_send_the_same_file_which_the_server_keeps_once(tmp_path, sent, monkeypatch, links):
    if not links:
        monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    picture = shutil.copy(sample_pictures()["xray_normal"], sent / "a.png")
    archive = zipped(sent / "a.zip", ("a.png", picture.read_bytes()))
    for file in (picture, archive):
        own = [take([file], tmp_path / visitor / file.name, MOST).sources[0].files[0] for visitor in ("one", "two")]
        own[0].unlink()
        assert own[1].read_bytes() == picture.read_bytes()


def test_a_series_is_one_volume_as_files_and_as_a_zip_file(tmp_path, sent):
    volume = make_phantom_volume("chest_abdomen_ct", VOLUMES.first, (16, 16, 8))
    files = write_phantom_volume_series(volume, tmp_path / "series").files
    archive = zipped(sent / "patient.zip", *((f"scan/{path.name}", path.read_bytes()) for path in files))
    (packed,) = take([archive], tmp_path / "a", MOST).sources
    (loose,) = take(files, tmp_path / "b", MOST).sources
    assert (packed.stem, loose.stem) == ("scan", "upload") and len(packed.paths) == len(loose.paths) == 8


def test_files_of_one_name_from_several_folders_are_all_kept(tmp_path, sent):
    files = []
    for number in range(3):
        (sent / str(number)).mkdir()
        files.append(shutil.copy(sample_pictures()["xray_normal"], sent / str(number) / "a.png"))
    assert len(take(files, tmp_path / "in", MOST).sources) == 3


@pytest.mark.parametrize(
    ("name", "line"),
    [("a.docx", "a.docx: is not a supported image"), ("a.zip", "a.zip: is damaged, or no zip file")],
)
def test_what_is_no_image_is_named_without_the_servers_folders(tmp_path, sent, name, line):
    (sent / name).write_bytes(b"no image")
    with pytest.raises(InputError) as error:
        take([sent / name], tmp_path / "in", MOST)
    assert str(error.value).startswith(line) and str(tmp_path) not in str(error.value)


def test_nothing_too_much_and_what_did_not_arrive_is_refused(tmp_path, sent):
    np.zeros(100, np.uint8).tofile(sent / "a.png")
    for files, most, line in (
        ([], MOST, "no file was sent"),
        ([sent / "a.png"], 99, "100 bytes were sent; the limit is 99 bytes"),
        ([sent / "b.png"], MOST, "did not arrive whole"),
    ):
        with pytest.raises(InputError, match=line):
            take(files, tmp_path / "in", most)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("chest.png", "chest.png"),
        ("Röntgen 1.png", "Röntgen 1.png"),
        ("../../etc/passwd", "passwd"),
        ("..\\up.png", "up.png"),
        (".hidden.png", "hidden.png"),
        ("a\nb.png", "a_b.png"),
        ("a\u202egnp.exe.png", "a_gnp.exe.png"),
        ("..", "file"),
        ("x" * 300 + ".nii.gz", "x" * 113 + ".nii.gz"),
    ],
)
def test_a_name_is_that_of_a_file_and_nothing_else(name, safe):
    assert safe_name(name) == safe
