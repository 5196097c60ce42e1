"""In a browser: open, ask, ask again, look at layers and slices, download what the command line writes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import web_steps as steps

from medclipsam_monai.phantoms.samples import sample_pictures


@pytest.fixture
def chest(tmp_path):
    return shutil.copy(sample_pictures()["xray_normal"], tmp_path / "chest.png")


@pytest.mark.parametrize("page", [1280, 390], indirect=True)
def test_a_picture_is_asked_twice_and_a_second_text_encodes_nothing_anew(page, chest):
    steps.upload(page, chest)
    steps.opened(page, "chest.png, 256 × 256 pixels; looks like chest X-ray")
    steps.ask(page, "lungs")
    first = steps.masks(page)
    assert page.inner_text("#facts h3") == "lungs" and "pixels" in page.inner_text("#facts .card")
    steps.ask(page, "heart")
    assert steps.masks(page) != first
    assert "Computed anew: saliency and mask" in page.inner_text("#facts .computed")
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_the_threshold_computes_the_mask_anew_and_nothing_else(page, chest):
    steps.upload(page, chest)
    steps.opened(page, "chest.png")
    steps.ask(page, "lungs")
    for value in ("0.8", "0.2", "0.9"):
        before = steps.masks(page)
        page.locator("#threshold input[type=number]").fill(value)
        steps.wait_for_change(page, before)
    assert "Computed anew: mask." in page.inner_text("#facts .computed")


def test_downloads_are_the_command_lines_files_bit_for_bit(page, chest, tmp_path):
    steps.upload(page, chest)
    steps.opened(page, "chest.png")
    steps.ask(page, "lungs; heart")
    got = {what: steps.download(page, what, tmp_path) for what in ("Mask", "Overlay", "Record", "All (zip)")}
    words = ["segment", str(chest), "--text", "lungs", "--text", "heart", "--output", str(tmp_path / "out")]
    subprocess.run([sys.executable, "-m", "medclipsam_monai", *words, "--device", "cpu"], check=True)
    for what in ("Mask", "Overlay"):
        assert got[what].read_bytes() == (tmp_path / "out" / got[what].name).read_bytes()
    records = [json.loads(path.read_text()) for path in (got["Record"], tmp_path / "out" / got["Record"].name)]
    times = [{key: record.pop(key) for key in ("seconds", "created") if key in record} for record in records]
    assert records[0] == records[1] and times
    assert got["All (zip)"].name == "chest.zip"
