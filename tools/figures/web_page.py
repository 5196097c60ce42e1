"""The picture of docs/how-to/web.md: the page on its own phantom CT.

    python -m tools.figures.web_page docs/pictures/web.png

Needs the extras web and web_test, and a Chromium on the path.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from PIL import Image

from tools.figures.one_picture import run

SIZE = {"width": 1280, "height": 900}
COLOURS = 224
LAYERS = ("coarse", "prompts")
_MINUTES = 5 * 60_000
_ANSWERED = "document.querySelector('#facts .computed').innerText.includes('Computed anew: mask.')"


def draw(picture: Path) -> None:
    """Open the sample volume in a browser without a screen, and save what it shows."""
    from playwright.sync_api import sync_playwright

    from medclipsam_monai.web.server import serving
    from medclipsam_monai.web.visits.networks import Networks
    from medclipsam_monai.web.visits.registry import Visits

    with serving(Visits(Networks("small", "cpu"))) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        page.goto(url)
        page.click("#sample-volume", timeout=_MINUTES)
        page.wait_for_selector("#facts .card", timeout=_MINUTES)
        for layer in LAYERS:
            page.check(f"#layers input[name={layer}]")
        page.click("#segment")  # once more: the picture shows how long a question takes, not how long an image
        page.wait_for_function(_ANSWERED, timeout=_MINUTES)
        page.wait_for_timeout(1000)
        with tempfile.TemporaryDirectory() as folder:
            page.screenshot(path=f"{folder}/page.png", full_page=True)
            few = Image.open(f"{folder}/page.png").convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
            few.save(picture, optimize=True)
        browser.close()


if __name__ == "__main__":
    run(draw, __doc__)
