"""In a browser: every bad input gets one clear line, and the page goes on."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import pytest
import web_steps as steps
from PIL import Image

from medclipsam_monai.phantoms.samples import sample_pictures


def goes_on(page) -> None:
    """The page still does what it is for."""
    page.click("#sample-xray")
    page.wait_for_selector("#facts .card", timeout=steps.SECONDS)
    page.wait_for_selector("#status .plain", timeout=steps.SECONDS)
    assert "xray_normal.png" in page.inner_text("#status")


def zipped(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in content.items():
            packed.writestr(name, data)
    return path


def protected(path: Path) -> Path:
    """A zip file whose entry says that it needs a password."""
    data = bytearray(zipped(path, {"a.png": b"x" * 40}).read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    path.write_bytes(data)
    return path


def damaged(path: Path) -> Path:
    path.write_bytes(Path(sample_pictures()["xray_normal"]).read_bytes()[:2000])
    return path


def bomb(path: Path) -> Path:
    return zipped(path, {f"{number}.png": bytes(30_000_000) for number in range(4)})


BAD = {
    "wrong type": (lambda folder: _text(folder / "notes.docx"), "is not a supported image"),
    "damaged": (lambda folder: damaged(folder / "cut.png"), "cut.png"),
    "password": (lambda folder: protected(folder / "locked.zip"), "protected by a password"),
    "bomb": (lambda folder: bomb(folder / "bomb.zip"), "are unpacked"),
    "path": (lambda folder: zipped(folder / "up.zip", {"../../evil.png": b"x"}), "a path that leads out of it"),
    "no zip": (lambda folder: _text(folder / "not.zip"), "no zip file that can be read"),
    "nothing in it": (lambda folder: zipped(folder / "empty.zip", {"a.txt": b"x"}), "no image"),
}


def _text(path: Path) -> Path:
    path.write_text("no image")
    return path


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_named_and_the_page_goes_on(page, tmp_path, what, capfd):
    make, line = BAD[what]
    steps.upload(page, make(tmp_path))
    said = steps.error(page)
    assert line in said and "\n" not in said.strip() and "/tmp" not in said
    goes_on(page)
    assert capfd.readouterr().err == ""


def test_a_file_beyond_the_limit_is_refused_by_its_size(page, tmp_path):
    with (tmp_path / "huge.nii").open("wb") as file:
        file.truncate(2 * 10**9)
    steps.upload(page, tmp_path / "huge.nii")
    assert steps.error(page) == "2,000 MB are more than the 20 MB that are taken at once; nothing was sent"
    goes_on(page)


def test_a_name_with_hostile_letters_is_a_name_and_nothing_else(page, tmp_path):
    name = "<img src=x onerror=alert(1)>.png"
    shutil.copy(sample_pictures()["xray_normal"], tmp_path / name)
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    steps.upload(page, tmp_path / name)
    steps.opened(page, "256 × 256")
    steps.ask(page, "<b>lungs</b>=lungs")
    assert page.query_selector("#facts b") is None and dialogs == []
    assert page.inner_text("#facts h3") == "<b>lungs</b>"


def test_an_empty_text_and_a_text_without_an_image(page):
    page.fill("#text textarea, #text input", "lungs")
    page.click("#segment")
    assert steps.error(page) == "there is no image yet; open one, or take an example"
    page.click("#sample-xray")
    page.wait_for_selector("#facts .card", timeout=steps.SECONDS)
    page.fill("#text textarea, #text input", "  ;")
    page.click("#segment")
    assert steps.error(page) == "the text is empty; say what to look for, for example: lungs"
    goes_on(page)


def test_no_memory_is_said_in_a_line(page, served, monkeypatch):
    page.click("#sample-xray")
    page.wait_for_selector("#facts .card", timeout=steps.SECONDS)

    def full(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as changed:
        changed.setattr("medclipsam_monai.zero_shot.opened.OpenedImage.answer", full)
        page.fill("#text textarea, #text input", "heart")
        page.click("#segment")
        assert steps.error(page) == "too large for this machine's memory"
    goes_on(page)
    steps.ask(page, "heart")


def test_a_picture_larger_than_what_is_read_is_refused(page, tmp_path, served, monkeypatch):
    monkeypatch.setenv("MEDCLIPSAM_MAX_VOXELS", "10000")
    content = io.BytesIO()
    Image.new("L", (200, 200)).save(content, "PNG")
    (tmp_path / "large.png").write_bytes(content.getvalue())
    steps.upload(page, tmp_path / "large.png")
    assert "the limit is 10,000" in steps.error(page)
    monkeypatch.undo()
    goes_on(page)
