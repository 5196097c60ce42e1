"""The documentation's generated pages are those of the code: python -m tools.pages.generate writes them."""

from __future__ import annotations

import re

import pytest

from medclipsam_monai.presets import preset_names
from tools.pages import generate
from tools.pages.presets import SETTINGS
from tools.pages.tables import entries, table


@pytest.mark.parametrize("page", generate.PAGES)
def test_a_page_is_that_of_the_code(page):
    assert (generate.DOCS / page).read_text(encoding="utf-8") == generate.text_of(page)


def test_the_commands_are_all_there():
    said = re.findall(r"^#+ (medclipsam.*)$", generate.text_of("reference/cli.md"), re.MULTILINE)
    assert {"medclipsam segment", "medclipsam weights download", "medclipsam label serve"} <= set(said)
    assert "| `--slice-axis` | `acquired` |" in generate.text_of("reference/cli.md")


def test_the_presets_and_settings_are_all_there():
    page = generate.text_of("reference/presets.md")
    assert all(f"\n### {name}\n" in page for name in preset_names())
    assert "| `saliency.gamma` | `1.0` | from 0 to 1,000,000 | weight of the information term;" in page
    assert "| `fusion` | none | `best`, `mean`, `score`, `staple` |" in page


def test_a_docstring_gives_the_meaning_of_each_field():
    assert entries(SETTINGS)["threshold"] == "of the probability in the final mask."


def test_a_cell_keeps_its_bar_and_has_one_line():
    assert table(["a"], [["b | c\nd"]]) == "| a |\n| --- |\n| b \\| c d |"
