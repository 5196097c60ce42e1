"""All pages of the repository: links lead to files and headings, charts are drawn, the site fetches nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.pages import charts
from tools.pages.foreign import foreign

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("bundles/*/docs/*.md")),
    *sorted(ROOT.glob("medclipsam_monai/resources/*/*.md")),
]
_FENCED = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)


def text_of(page: Path) -> str:
    """A page without its code blocks."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """What a link may name of a page: its headings, in small letters without signs, with hyphens between the words."""
    titles = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere in the repository."""
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        if "://" not in target and not (
            there.exists() and (not anchor or there.suffix != ".md" or anchor in anchors(there))
        ):
            lost.append(target)
    return lost


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(page):
    assert broken(page) == []


def test_a_link_to_no_file_or_no_heading_is_seen(tmp_path):
    (tmp_path / "a.md").write_text("# One: two\n[x](b.md) [y](#one-two) [z](#three) [w](https://a.b/c)")
    assert broken(tmp_path / "a.md") == ["b.md", "#three"]


def test_each_flow_chart_is_drawn_as_it_is_now():
    drawn = {path.stem for path in (charts.DOCS / charts.PICTURES).glob("*.svg")}
    assert drawn == charts.charts().keys() != set()  # scripts/charts.sh


def test_what_a_site_fetches_from_elsewhere_is_seen(tmp_path):
    (tmp_path / "a.html").write_text(
        '<link rel="canonical" href="https://a.b/c"><a href="https://a.b/d">x</a><script src="https://a.b/e.js"></script>'
        '<img src="f.png"><img src="//a.b/g.png"><style>@import url(https://a.b/h.css)</style><p style="x: url(i.png)">'
    )
    (tmp_path / "j.css").write_text("@font-face { src: url('https://a.b/k.woff2') } a { background: url(l.png) }")
    found = [line.partition(": ")[2] for line in foreign(tmp_path)]
    assert found == ["https://a.b/e.js", "//a.b/g.png", "https://a.b/h.css", "https://a.b/k.woff2"]
