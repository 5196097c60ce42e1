"""Names for outputs: whatever inputs are called, outputs can be written and do not meet."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import find_inputs, read_image, search_inputs
from medclipsam_monai.io.inputs.names import LONGEST_STEM, safe_stem, unique_stems


def picture(path: Path | bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        Image.new("L", (9, 8), 7).save(file, "PNG")


def stems(*patterns: Path) -> list[str]:
    return [source.stem for source in find_inputs(patterns)]


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("scan[1]", "scan[1]"),
        ("Röntgen Ärztin", "Röntgen Ärztin"),
        ("胸部", "胸部"),
        (os.fsdecode(b"M\xfcller"), "M_ller"),
        ("a\nb\tc\x1b[31m", "a_b_c_[31m"),
        (".hidden", "_hidden"),
        ("..", "__"),
        ("a/b\\c", "a_b_c"),
        ("", "image"),
    ],
)
def test_a_stem_can_be_printed_and_seen(name: str, stem: str) -> None:
    assert safe_stem(name) == stem and safe_stem(stem) == stem


@pytest.mark.parametrize("letter", ["x", "é", "胸", "🫁"])
def test_long_stems_are_cut_to_bytes_and_stay_apart(letter: str) -> None:
    first, second = safe_stem(letter * 200), safe_stem(letter * 201)
    assert first != second and first == safe_stem(letter * 200)
    for stem in (first, second):
        assert LONGEST_STEM - 4 < len(stem.encode()) <= LONGEST_STEM and stem.startswith(letter * 20)
    fitting = letter * (LONGEST_STEM // len(letter.encode()))
    assert safe_stem(fitting) == fitting


def test_names_that_some_file_system_takes_for_one_are_told_apart() -> None:
    names = ["scan", "SCAN", "é", "e\u0301", "ß", "ss", "x" * 300, "x" * 300, "a\n", "a\t"]
    wholes = [str(number).encode() for number in range(len(names))]
    result = unique_stems(names, (), wholes)
    assert len({stem.casefold() for stem in result}) == len(names)
    assert all(len(stem.encode()) <= LONGEST_STEM for stem in result)
    assert unique_stems(names, (), wholes) == result


def test_files_whose_names_are_no_text_are_found_and_read(tmp_path: Path) -> None:
    root = os.fsencode(tmp_path)
    for name in (b"M\xfcller.png", b"M\xf6ller.png", b"sub\xff/a.png", b"a.png"):
        picture(os.path.join(root, name))
    found = find_inputs([tmp_path])
    assert len({source.stem for source in found}) == 4 and "sub__a" in {source.stem for source in found}
    for source in found:
        assert source.stem.encode().isascii() and read_image(source).shape == (1, 8, 9)


def test_long_names_and_deep_folders_leave_room_for_suffixes(tmp_path: Path) -> None:
    picture(tmp_path / ("x" * 236 + ".png"))
    uid = "1.3.6.1.4.1.14519.5.2.1.6279.6001." + "1" * 29
    for last in ("1-001", "1-002"):
        picture(tmp_path / uid / uid / uid / uid / f"{last}.png")
    names = stems(tmp_path)
    assert len(set(names)) == 3 and max(len(name.encode()) for name in names) <= LONGEST_STEM
    picture(tmp_path / "a.png")
    assert set(names) < set(stems(tmp_path))  # whatever else is there


def test_only_regular_files_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    for name in ("pipe.png", "pipe", "pipe.dcm"):
        os.mkfifo(tmp_path / name)
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # a socket's path is short
        server.bind("socket.png")
        os.symlink(tmp_path / "nothing.png", tmp_path / "broken.png")
        assert stems(tmp_path) == stems(tmp_path / "*") == ["a"]
        for name in ("pipe.png", "pipe", "pipe.dcm", "socket.png"):
            with pytest.raises(
                InputError, match=f"{name}: is a pipe, a socket or a device; an image must be a regular"
            ):
                find_inputs([tmp_path / name])
        with pytest.raises(InputError, match=r"broken\.png: is a link to a file that is not there"):
            find_inputs([tmp_path / "broken.png"])


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere" / "b.png")
    picture(tmp_path / "in" / "a" / "a.png")
    os.symlink(tmp_path / "elsewhere", tmp_path / "in" / "0link")
    os.symlink(tmp_path / "elsewhere", tmp_path / "in" / "again")
    os.symlink(tmp_path / "in", tmp_path / "in" / "a" / "loop")
    os.symlink(tmp_path, tmp_path / "in" / "a" / "around")
    os.symlink(tmp_path / "in" / "a", tmp_path / "in" / "0a")
    os.symlink(tmp_path / "in" / "a" / "a.png", tmp_path / "in" / "a" / "0.png")
    os.symlink(tmp_path / "elsewhere", tmp_path / "elsewhere" / "self")
    assert sorted(stems(tmp_path / "in")) == ["0link_b", "a_a"]
    os.symlink(tmp_path / "in", tmp_path / "start")
    assert sorted(stems(tmp_path / "start")) == ["0link_b", "a_a"]


def test_what_cannot_be_used_is_collected_and_the_rest_found(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("x")
    patterns = [tmp_path / "no.png", tmp_path / "a.png", tmp_path / "notes.txt", tmp_path / ("y" * 300)]
    found = search_inputs(patterns)
    assert [source.stem for source in found.sources] == ["a"]
    assert [pattern for pattern, _ in found.failed] == [str(patterns[0]), str(patterns[2]), str(patterns[3])]
    assert found.failed[0][1] == f"{patterns[0]}: no such file or folder"
    assert found.failed[2][1] == f"{patterns[3]}: cannot be opened: File name too long"


def test_finding_inputs_needs_no_model_code() -> None:
    code = "import sys; from medclipsam_monai.io import find_inputs; print({'torch', 'monai'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
