"""The tests of the page need Gradio, Playwright and a Chromium: they run in an environment of their own, see
scripts/test_web.sh. The others need none of it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from web_server import Served, served_page

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
collect_ignore_glob = [] if find_spec("gradio") and find_spec("playwright") else ["test_page_*.py"]


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    with served_page() as one:
        yield one


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on the path: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(params=[1280])
def page(request, browser, served) -> Iterator[Any]:
    """An open page; nothing that it asks for lies elsewhere, and nothing in it fails.

    A picture of it at the end is left for who wants to look at it: in the folder $WEB_SHOTS, if that is set.
    """
    context = browser.new_context(viewport={"width": request.param, "height": 900}, accept_downloads=True)
    opened = context.new_page()
    elsewhere: list[str] = []
    errors: list[str] = []
    opened.on("request", lambda one: elsewhere.append(one.url) if not is_of(served.url, one.url) else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(served.url)
    opened.wait_for_selector("#segment")
    yield opened
    if folder := os.environ.get("WEB_SHOTS"):
        opened.screenshot(path=Path(folder) / f"{re.sub('[^a-zA-Z0-9]+', '_', request.node.name)}.png", full_page=True)
    context.close()
    assert (elsewhere, errors) == ([], [])


def is_of(url: str, address: str) -> bool:
    return address.startswith((url, "data:", "blob:"))
