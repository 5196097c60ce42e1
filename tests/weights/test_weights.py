from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

import pytest
from typer.testing import CliRunner

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import size_text
from medclipsam_monai.cli.weights import weights_app
from medclipsam_monai.weights import registry as weights
from medclipsam_monai.weights.registry import download, known_weights, resolve, weight_hash, weights_folder

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def mirror(serve, tmp_path, monkeypatch):
    """A server of a small file that goes by the name of sam_vit_b."""
    file = tmp_path / "sam_vit_b_01ec64.pth"
    file.write_bytes(CONTENT)
    server = serve(file)
    entry = replace(known_weights()["sam_vit_b"], url=server.url, size=len(CONTENT), sha256=SHA256)
    monkeypatch.setattr(weights, "known_weights", lambda: {**known_weights(), "sam_vit_b": entry})
    return server


def run(*arguments: object):
    return CliRunner().invoke(weights_app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("entry", known_weights().values(), ids=lambda entry: entry.name)
def test_every_known_file_has_source_size_licence_and_full_hash(entry):
    assert urlparse(entry.url).scheme == urlparse(entry.source).scheme == "https"
    assert entry.url.endswith(entry.file)
    assert len(entry.sha256) == 64 and set(entry.sha256) <= set("0123456789abcdef")
    assert entry.size > 10**8
    assert entry.licence in ("MIT", "Apache-2.0", "CC-BY-4.0")


def test_folder_comes_from_the_environment_or_the_cache(monkeypatch):
    monkeypatch.setenv("MEDCLIPSAM_HOME", "~/somewhere")
    assert weights_folder() == Path.home() / "somewhere"
    monkeypatch.setenv("MEDCLIPSAM_HOME", "")
    assert weights_folder() == Path.home() / ".cache" / "medclipsam"


def test_resolve_finds_names_paths_and_hub_names(home, tmp_path, monkeypatch):
    home.mkdir()
    known = home / "sam_vit_b_01ec64.pth"
    own = tmp_path / "mine.pth"
    demo = tmp_path / "demo" / "clip"
    demo.mkdir(parents=True)
    for file in (known, own):
        file.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights, "RESOURCES", tmp_path)
    assert resolve("sam_vit_b") == known
    assert resolve("mine.pth") == Path("mine.pth")
    assert resolve(str(own)) == resolve(own) == own
    assert resolve("demo/clip") == demo
    assert resolve("hf-hub:a/b") == "hf-hub:a/b"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("sam_vit_b", r"sam_vit_b_01ec64\.pth; get it \(375 MB\) by: medclipsam weights download sam_vit_b$"),
        ("biomedclip", r"open_clip_pytorch_model\.bin; get it \(784 MB\) by: medclipsam weights download biomedclip$"),
        ("sam_vitb", r"not found: sam_vitb; expected a path, hf-hub:NAME, demo/clip, .*sam_vit_b"),
        (Path("sam_vit_b"), r"not found: sam_vit_b; expected a path"),
    ],
    ids=str,
)
def test_missing_weights_say_what_is_missing_and_how_to_get_it(home, source, message):
    with pytest.raises(InputError, match=message) as error:
        resolve(source)
    assert "\n" not in str(error.value)


def test_download_puts_a_known_file_where_resolve_finds_it(mirror, home):
    assert download("sam_vit_b", progress=False) == home / "sam_vit_b_01ec64.pth" == resolve("sam_vit_b")
    assert weight_hash(resolve("sam_vit_b")) == SHA256


def test_download_from_a_mirror_into_another_folder(mirror, home, tmp_path, monkeypatch):
    entry = replace(weights.known_weights()["sam_vit_b"], url="http://127.0.0.1:9/gone")
    monkeypatch.setattr(weights, "known_weights", lambda: {"sam_vit_b": entry})
    found = download("sam_vit_b", tmp_path / "usb", progress=False, url=mirror.url)
    assert found == tmp_path / "usb" / "sam_vit_b_01ec64.pth"
    assert not home.exists()


def test_failed_download_says_what_how_large_and_what_to_do(mirror, home):
    mirror.breaks = [0]
    with pytest.raises(
        InputError, match=r"sam_vit_b \(7\.0 kB\) did not arrive: .*run it again to go on, or get .* as"
    ):
        download("sam_vit_b", progress=False)


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="'sam_vit_x'; expected one of biomedclip, sam_vit_b"):
        download("sam_vit_x")


def test_hash_of_a_file_and_of_the_folders_that_hold_it(tmp_path, clip_folder, sam_folder):
    file = tmp_path / "a.pth"
    file.write_bytes(CONTENT)
    assert weight_hash(file) == weight_hash(str(file)) == SHA256
    for folder, name in ((clip_folder, "open_clip_model.safetensors"), (sam_folder, "sam.safetensors")):
        assert weight_hash(folder) == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_hash_is_computed_once_and_again_when_the_file_changes(tmp_path, monkeypatch):
    file = tmp_path / "b.pth"
    file.write_bytes(CONTENT)
    read = []
    real = weights.file_sha256
    monkeypatch.setattr(weights, "file_sha256", lambda path: read.append(path) or real(path))
    assert weight_hash(file) == weight_hash(file) == SHA256
    assert len(read) == 1
    file.write_bytes(CONTENT[::-1])
    os.utime(file, (1, 1))
    assert weight_hash(file) != SHA256
    assert len(read) == 2


@pytest.mark.parametrize("missing", ["nowhere.pth", ".", "hf-hub:nobody/nothing-at-all"])
def test_hash_of_nothing_is_one_line(tmp_path, monkeypatch, missing):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError):
        weight_hash(missing)


def test_list_shows_every_name_and_what_is_here(home):
    home.mkdir()
    (home / "medsam_vit_b.pth").touch()
    lines = run("list").stdout.splitlines()
    for entry in known_weights().values():
        row = next(line for line in lines if f" {entry.name} " in line)
        assert ("yes" in row) == (entry.name == "medsam")
        assert size_text(entry.size) in row and entry.licence in row
        assert any(entry.source in line and entry.sha256 in line for line in lines)
    assert any(str(home) in line for line in lines)


def test_download_and_path_commands_print_where_the_file_is(mirror, home):
    expected = str(home / "sam_vit_b_01ec64.pth")
    done = run("download", "sam_vit_b", "--no-progress")
    assert (done.exit_code, done.stdout) == (0, f"sam_vit_b: {expected}\n")
    assert run("path", "sam_vit_b").stdout == f"{expected}\n"


def test_one_wrong_name_stops_the_command_before_any_download(mirror, home):
    result = run("download", "sam_vit_b", "sam_vit_x")
    assert isinstance(result.exception, InputError)
    assert mirror.asked == []


def test_one_mirror_stands_for_one_file(mirror):
    result = run("download", "sam_vit_b", "medsam", "--url", mirror.url)
    assert isinstance(result.exception, InputError)
    assert mirror.asked == []
