"""Write the documentation's generated pages, and the table of weights inside of one; tests keep them equal.

python -m tools.pages.generate
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import typer

from medclipsam_monai.base.files import write_text
from tools.pages import bundles, commands, presets, weights

DOCS = Path(__file__).parents[2] / "docs"
NOTE = "<!-- Made by python -m tools.pages.generate; changes here are lost. -->\n\n"
PAGES: dict[str, Callable[[], str]] = {
    "reference/cli.md": commands.page,
    "reference/presets.md": presets.page,
    "reference/bundles.md": bundles.page,
}
"""Path below docs/ -> what makes its text; the page of the weights has only its table from here."""


def text_of(name: str) -> str:
    """A page's text as it has to be."""
    return NOTE + PAGES[name]().rstrip() + "\n"


def main() -> None:
    """Write the documentation's generated pages."""
    for page in PAGES:
        write_text(DOCS / page, text_of(page))
    write_text(weights.PAGE, weights.page())


if __name__ == "__main__":
    typer.run(main)
