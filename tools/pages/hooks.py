"""What mkdocs calls while it builds the site (mkdocs.yml); it runs where only requirements/docs.txt is installed.

Pages link files of the repository as readers of the repository need it. Here such a link becomes one to the site's page
made of that file, or plain words where there is none. Equations become MathML and flow charts pictures, so that no
page needs a script for them.
"""

from __future__ import annotations

import html
import os
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File

from tools.pages import charts

ROOT = Path(__file__).parents[2]
ADDED = {
    "project/changelog.md": "CHANGELOG.md",
    "project/contributing.md": "CONTRIBUTING.md",
    "project/conduct.md": "CODE_OF_CONDUCT.md",
    "project/security.md": "SECURITY.md",
    "reference/bundle-zeroshot.md": "bundles/medclipsam_zeroshot_segmentation/docs/README.md",
    "reference/bundle-finetune.md": "bundles/medclipsam_finetune/docs/README.md",
    "reference/bundle-weak.md": "bundles/medclipsam_weak_segmentation/docs/README.md",
    "reference/card-small.md": "medclipsam_monai/resources/small/MODEL_CARD.md",
    "reference/card-demo.md": "medclipsam_monai/resources/demo/MODEL_CARD.md",
}
"""Page of the site -> file outside of docs/ that it is made of."""
_PAGE_OF = {source: page for page, source in ADDED.items()}
_CODE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_EQUATION = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
_WIDTH = re.compile(r'viewBox="[\d.-]+ [\d.-]+ ([\d.]+)')
log = get_plugin_logger(__name__)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made of files outside of docs/."""
    for page, source in ADDED.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Put pictures in the place of flow charts, and mend links to files of the repository."""
    here = page.file.src_uri
    drawn = charts.CHART.sub(lambda found: chart(found[1], here), markdown)
    parts = _CODE.split(drawn)
    parts[::2] = [_LINK.sub(lambda found: mended(found, here), part) for part in parts[::2]]
    return "".join(parts)


def on_page_content(content: str, page: Any, config: Any, files: Any) -> str:
    """Write equations as MathML."""
    return _EQUATION.sub(lambda found: equation(html.unescape(found[3]), found[2] == "["), content)


def mended(found: re.Match[str], here: str) -> str:
    """A link of a page as the site needs it; one that leads nowhere is said, which ends a strict build."""
    mark, words, target = found.groups()
    path, _, anchor = target.partition("#")
    if not path or "://" in target or target.startswith("mailto:"):
        return found[0]
    source = ADDED.get(here, f"docs/{here}")
    wanted = os.path.normpath(os.path.join(os.path.dirname(source), path))
    if not (ROOT / wanted).exists() and wanted not in _PAGE_OF:
        log.warning("%s links %s, which is not there", source, target)
    inside = _PAGE_OF.get(wanted) or (wanted.removeprefix("docs/") if wanted.startswith("docs/") else None)
    if wanted == "README.md":
        inside = "index.md"
    if inside is None:
        return words
    link = os.path.relpath(inside, os.path.dirname(here) or ".")
    return f"{mark}[{words}]({link}{'#' + anchor if anchor else ''})"


def chart(source: str, here: str) -> str:
    """The picture of a flow chart, which scripts/charts.sh drew; a chart without one is said."""
    name = f"{charts.PICTURES}/{charts.name_of(source)}.svg"
    drawn = charts.DOCS / name
    if not drawn.is_file():
        log.warning("a flow chart of %s has no picture: run scripts/charts.sh", here)
        return ""
    width = _WIDTH.search(drawn.read_text(encoding="utf-8"))
    size = f" width={round(float(width[1]))}" if width else ""
    return f"![Flow chart]({os.path.relpath(name, os.path.dirname(here) or '.')}){{ .chart{size} }}"


def equation(latex: str, block: bool) -> str:
    """An equation in LaTeX as MathML."""
    written = str(convert(latex.strip(), display="block" if block else "inline"))
    return f'<div class="equation">{written}</div>' if block else written
