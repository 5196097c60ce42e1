from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

import pytest
from typer.testing import CliRunner

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import size_text
from medclipsam_monai.cli.weights import weights_app
from medclipsam_monai.presets.networks import ENCODERS, SEGMENTERS
from medclipsam_monai.weights import registry as weights
from medclipsam_monai.weights.entries import known_weights
from medclipsam_monai.weights.registry import download, resolve, weight_hash, weights_folder

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


NETWORKS = {
    *("biomedclip", "medclip_samv2", "pubmedclip", "unimed_clip", "medpmc_clip", "medsiglip", "siglip_b"),
    *("sam_vit_b", "sam_vit_l", "sam_vit_h", "medsam", "sam_med2d", "sam2_tiny", "sam2_small", "sam2_base_plus"),
    *("mobile_sam", "sam2_large", "medsam2", "edgetam", "sam_hq_b", "sam3", "dinov2_b", "universeg"),
}


def test_the_list_has_every_network():
    assert set(known_weights()) == NETWORKS
    files = [entry.file for entry in known_weights().values()]
    assert len(set(files)) == len(files) and all(Path(file).name == file for file in files)


@pytest.mark.parametrize("entry", known_weights().values(), ids=lambda entry: entry.name)
def test_every_entry_says_where_from_and_what_a_download_is_checked_by(entry):
    assert urlparse(entry.source).scheme == "https" and entry.what
    assert entry.kind in {"clip": ENCODERS, "sam": SEGMENTERS}.get(entry.role, ()) or entry.kind == ""
    assert entry.size is None or entry.size > 10**7
    assert sum(map(bool, (entry.url, entry.repository, entry.by_hand))) == 1
    if entry.url:
        assert urlparse(entry.url).scheme == "https" and entry.url.endswith(entry.file)
        assert re.fullmatch("[0-9a-f]{64}", entry.sha256) and entry.size
    else:  # nothing that is not looked at: a hash of a folder or of a file got by hand
        assert entry.sha256 == ""
    if entry.repository:
        assert entry.source == f"https://huggingface.co/{entry.repository}"
        assert re.fullmatch("([0-9a-f]{40})?", entry.revision)
    if entry.by_hand:
        assert entry.note
    assert not entry.gated or (entry.repository and entry.licence)


def test_gated_are_those_whose_licence_has_to_be_accepted():
    assert {name for name, entry in known_weights().items() if entry.gated} == {"medsiglip", "sam3"}


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
        (
            "sam3",
            r"sam3; get it by: medclipsam weights download sam3; its licence has to be accepted at https://hug.*3 ",
        ),
        ("medclip_samv2", r"samv2\.bin; it is got by hand: from https://github.*, saved as .*\.bin \(its README links"),
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
    with pytest.raises(InputError, match="'sam_vit_x'; expected one of biomedclip, medclip_samv2, "):
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
        size = "not known" if entry.size is None else size_text(entry.size)
        assert size in row and (entry.licence or "not known") in row
        assert ("gated" in row, "by hand" in row) == (entry.gated, entry.by_hand)
        said = next(line for line in lines if line.startswith(f"{entry.name}: {entry.what}; {entry.source}, SHA-256 "))
        assert (entry.sha256 or "not known") in said and entry.note in said
    assert any(str(home) in line for line in lines)


def test_list_for_a_program_says_null_where_nothing_is_known(home):
    home.mkdir()
    (home / "edgetam").mkdir()
    rows = {row["name"]: row for row in json.loads(run("list", "--json").stdout)}
    assert list(rows) == list(known_weights())
    assert {name for name, row in rows.items() if row["here"]} == {"edgetam"}
    assert (rows["sam2_tiny"]["size"], rows["sam2_tiny"]["sha256"][:4]) == (156_008_466, "7402")
    assert rows["medclip_samv2"]["licence"] is rows["medclip_samv2"]["size"] is rows["medclip_samv2"]["sha256"] is None
    assert rows["medclip_samv2"]["by_hand"] is rows["sam3"]["gated"] is True


def test_what_is_got_by_hand_is_refused_with_the_page_and_the_name(home):
    with pytest.raises(InputError, match=r"sam_med2d cannot be downloaded .*SAM-Med2D, saved as .*sam-med2d_b\.pth \("):
        download("sam_med2d")
    assert not home.exists()


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
