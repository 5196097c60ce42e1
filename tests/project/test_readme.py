"""The README: short, and its code is that of pages whose code runs (test_how_to.py; its links: test_pages.py)."""

from __future__ import annotations

import re
from pathlib import Path

from page_commands import blocks

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "README.md"
README = PAGE.read_text(encoding="utf-8")


def prose(text: str) -> str:
    """A page's text without code blocks, rows of tables, pictures' texts and the targets of links."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^\|.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    return re.sub(r"\]\([^)]*\)", "]", text)


def test_it_has_at_most_450_words():
    assert 200 < len(prose(README).split()) <= 450


def test_words_of_code_tables_and_links_are_not_counted():
    assert prose("a [b c](d/e)\n![f](g)\n| h | i |\n```bash\nj k\n```\nl").split() == ["a", "[b", "c]", "l"]


def test_its_python_is_the_first_of_the_page_on_python():
    assert blocks(PAGE, "python") == blocks(ROOT / "docs" / "how-to" / "python.md", "python")[:1]


def test_it_says_how_to_set_up_what_for_and_under_which_licences():
    set_up = [line.split("  #")[0].strip() for line in blocks(PAGE, "bash")[0].splitlines()]
    assert set_up == ["scripts/demo.sh", "scripts/test.sh"]
    for words in ("**For research, not for diagnosis.**", "Apache-2.0", "CC BY-SA 4.0"):
        assert words in README


def test_its_figures_are_those_of_the_results():
    rows = [line for line in README.splitlines() if line.startswith("| ") and "**" in line]
    results = (ROOT / "docs" / "results" / "index.md").read_text(encoding="utf-8").splitlines()
    assert len(rows) > 10 and [row for row in rows if row not in results] == []
