"""What a visitor does on the page, step by step, for the tests in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SECONDS = 180_000  # milliseconds that a step may take, on a machine that is busy


def upload(page: Any, *files: Path) -> None:
    """Choose files, and wait until the first of them is open."""
    page.set_input_files("#files input[type=file]", [str(file) for file in files])


def opened(page: Any, name: str) -> None:
    page.wait_for_function(
        "name => document.querySelector('#status').innerText.includes(name)", arg=name, timeout=SECONDS
    )


def ask(page: Any, text: str) -> None:
    """Type a text, and wait until its mask is there."""
    before = masks(page)
    page.fill("#text textarea, #text input", text)
    page.press("#text textarea, #text input", "Enter")
    wait_for_change(page, before)


def masks(page: Any) -> str:
    """The outlines that are drawn."""
    return str(page.evaluate("document.querySelector('#viewer .layer-mask')?.innerHTML ?? ''"))


def wait_for_change(page: Any, before: str) -> None:
    page.wait_for_function(
        "before => { const mask = document.querySelector('#viewer .layer-mask'); "
        "return mask && mask.innerHTML !== before; }",
        arg=before,
        timeout=SECONDS,
        polling=10,
    )


def error(page: Any) -> str:
    """The line that says what is wrong, when there is one."""
    page.wait_for_selector("#status .error", timeout=SECONDS)
    return str(page.inner_text("#status .error"))


def place(page: Any, across: float, down: float) -> tuple[float, float]:
    """A place on the screen, by shares of the drawing's width and height."""
    page.locator("svg.drawing").scroll_into_view_if_needed()
    box = page.locator("svg.drawing").bounding_box()
    return box["x"] + across * box["width"], box["y"] + down * box["height"]


def click(page: Any, across: float, down: float) -> None:
    page.mouse.click(*place(page, across, down))


def drag(page: Any, first: tuple[float, float], last: tuple[float, float]) -> None:
    page.mouse.move(*place(page, *first))
    page.mouse.down()
    page.mouse.move(*place(page, *last), steps=4)
    page.mouse.up()


def download(page: Any, what: str, folder: Path) -> Path:
    """A file of the last answer, under the name that the browser gives it."""
    with page.expect_download() as begun:
        page.click(f"#downloads a:text-is('{what}')")
    target = folder / begun.value.suggested_filename
    begun.value.save_as(target)
    return target
