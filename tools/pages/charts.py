"""The flow charts of the pages as files for mermaid's program: python -m tools.pages.charts FOLDER

GitHub draws the charts where they stand. The site shows pictures of them, which scripts/charts.sh makes; a picture's
name is a hash of its chart, so that one of an older chart is not shown.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = "assets/charts"
CHART = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def name_of(chart: str) -> str:
    """The stem of a chart's files."""
    return hashlib.sha256(chart.encode()).hexdigest()[:12]


def charts() -> dict[str, str]:
    """All charts of the pages by the stems of their files."""
    pages = (path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md")))
    return {name_of(chart): chart for page in pages for chart in CHART.findall(page)}


if __name__ == "__main__":
    for stem, chart in charts().items():
        (Path(sys.argv[1]) / f"{stem}.mmd").write_text(chart, encoding="utf-8")
