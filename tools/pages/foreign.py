"""Refuse a built site whose pages would fetch anything from elsewhere: python -m tools.pages.foreign SITE

Links that a reader follows may lead anywhere.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_CSS = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]+)""")
_FETCHED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}


class _Page(HTMLParser):
    """Collects the addresses that a browser asks for while it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        values = dict(attrs)
        if tag == "link" and values.get("rel") in ("canonical", "next", "prev"):
            return
        self.fetched += [value for value in (values.get(_FETCHED.get(tag, "")), *styles(values.get("style"))) if value]


def styles(text: str | None) -> list[str]:
    """Addresses elsewhere that a style sheet fetches."""
    return _CSS.findall(text or "")


def foreign(site: Path) -> Iterator[str]:
    """A line for each address elsewhere that a file of the site makes a browser ask for."""
    for path in sorted(site.rglob("*")):
        found: list[str] = []
        if path.suffix == ".html":
            text = path.read_text(encoding="utf-8")
            page = _Page()
            page.feed(text)
            found = page.fetched + styles(" ".join(re.findall(r"<style.*?</style>", text, re.DOTALL)))
        elif path.suffix == ".css":
            found = styles(path.read_text(encoding="utf-8"))
        yield from (f"{path}: {one}" for one in found if re.match(r"(https?:)?//", one))


if __name__ == "__main__":
    lines = list(foreign(Path(sys.argv[1])))
    sys.exit("\n".join(["the site fetches from elsewhere:", *lines]) if lines else 0)
