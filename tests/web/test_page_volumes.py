"""In a browser: a volume as a job with progress and cancel, its slices and planes; a DICOM series and its SEG."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import web_steps as steps
from pydicom import dcmread

from medclipsam_monai.phantoms.seeds import VOLUMES
from medclipsam_monai.phantoms.volumes import make_phantom_volume
from medclipsam_monai.phantoms.volumes.saving import write_phantom_volume_series


def shown(page) -> dict[str, str]:
    return page.evaluate("({...document.querySelector('svg.drawing').dataset})")


def wait_for(page, **values: str) -> None:
    page.wait_for_function(
        "values => { const data = document.querySelector('svg.drawing')?.dataset ?? {}; "
        "return Object.entries(values).every(([key, value]) => data[key] === value); }",
        arg=values,
        timeout=steps.SECONDS,
    )


def test_a_volume_says_how_far_it_is_and_can_be_cancelled_and_looked_at_in_three_planes(page):
    page.click("#sample-volume")
    page.wait_for_selector("#status progress", timeout=steps.SECONDS)
    wait_for(page, plane="axial")
    page.click("#cancel")
    page.wait_for_function("document.querySelector('#status').innerText.includes('cancelled')")
    assert page.query_selector("#facts .card") is None
    steps.ask(page, "liver")
    assert "ml" in page.inner_text("#facts .card") and "slices" in page.inner_text("#facts .card")
    number = shown(page)["slice"]
    before = steps.masks(page)
    assert before
    page.locator("#slice input[type=number]").fill(str(int(number)))
    wait_for(page, slice=str(int(number) - 1))
    assert steps.masks(page) != before
    page.locator("#viewer .stage").focus()
    page.keyboard.press("PageUp")
    wait_for(page, slice=number)
    page.check("#plane input[value=coronal]")
    wait_for(page, plane="coronal")
    assert steps.masks(page)
    steps.drag(page, (0.4, 0.4), (0.6, 0.6))
    assert "draw it in the axial plane" in steps.error(page)


def test_a_zip_of_a_series_gives_the_mask_and_the_dicom_seg_of_the_command_line(page, tmp_path):
    series = tmp_path / "series"
    write_phantom_volume_series(make_phantom_volume("chest_abdomen_ct", VOLUMES.first, (64, 64, 16)), series)
    with zipfile.ZipFile(tmp_path / "series.zip", "w") as packed:
        for path in series.iterdir():
            packed.write(path, f"series/{path.name}")
    steps.upload(page, tmp_path / "series.zip")
    steps.opened(page, "series, ")
    steps.ask(page, "liver")
    got = {what: steps.download(page, what, tmp_path) for what in ("Mask", "Label names", "DICOM SEG")}
    words = ["segment", str(series), "--text", "liver", "--dicom-seg", "--output", str(tmp_path / "out")]
    subprocess.run([sys.executable, "-m", "medclipsam_monai", *words, "--device", "cpu"], check=True)
    for what in ("Mask", "Label names"):
        assert got[what].read_bytes() == (tmp_path / "out" / got[what].name).read_bytes()
    ours, theirs = (dcmread(path).PixelData for path in (got["DICOM SEG"], tmp_path / "out" / got["DICOM SEG"].name))
    assert ours == theirs


def test_a_folder_is_opened_as_one_volume(page, tmp_path):
    series = tmp_path / "series"
    write_phantom_volume_series(make_phantom_volume("chest_abdomen_ct", VOLUMES.first, (32, 32, 8)), series)
    (series / "notes.txt").write_text("no image")
    page.set_input_files("#folder input[type=file], input[webkitdirectory]", str(series))
    steps.opened(page, "32 × 32 × 8 voxels")
    assert page.is_visible("#volume")
