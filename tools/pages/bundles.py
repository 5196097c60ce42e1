"""docs/reference/bundles.md: the keys of each bundle's configurations, with their defaults, from the files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.pages.tables import cell, table

ROOT = Path(__file__).parents[2]
BUNDLES = ("medclipsam_zeroshot_segmentation", "medclipsam_finetune", "medclipsam_weak_segmentation")
HEAD = """# Bundle keys

Every key of the bundles' configurations that a run may set: `python -m monai.bundle run --config_file
configs/inference.json --KEY VALUE`, inside a part as `--PART#KEY VALUE`. What starts with `$` is Python that MONAI
works out, `@` refers to another key. Each bundle's page, linked below, tells what it is for and how it is run.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(part for name in BUNDLES for part in sections(name))])


def sections(bundle: str) -> Iterator[str]:
    """A bundle's title, and a table for each of its configurations."""
    folder = ROOT / "bundles" / bundle
    meanings = said(folder / "docs" / "README.md")
    yield f"## {bundle}\n"
    yield f"{first_words(folder)} [Its page](../../bundles/{bundle}/docs/README.md).\n"
    for path in sorted(
        (folder / "configs").glob("*.json"), key=lambda one: (one.stem not in ("inference", "train"), one.name)
    ):
        if path.stem == "metadata":
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        yield f"### {bundle.removeprefix('medclipsam_')}: {path.name}\n"
        values = {key: value for key, value in content.items() if is_option(value)}
        if values:
            rows = ([f"`{key}`", written(value), meanings.get(key, "")] for key, value in values.items())
            yield table(["key", "value in the file", "meaning"], rows) + "\n"
        parts = [f"`{key}`" for key in content if key not in values]
        if parts:
            yield f"Parts: {', '.join(parts)}.\n"


def first_words(folder: Path) -> str:
    """The description in the bundle's metadata."""
    metadata = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    return str(metadata["description"]).rstrip(".") + "."


def is_option(value: Any) -> bool:
    """Whether a key holds a value, and no part of the program or steps of a run."""
    return not isinstance(value, dict | list)


def written(value: Any) -> str:
    """A value as the file has it."""
    return (
        f"`{json.dumps(value, ensure_ascii=False)}`"
        if not isinstance(value, str)
        else f"`{value}`"
        if value
        else "empty"
    )


def said(readme: Path) -> dict[str, str]:
    """What a bundle's page says of each key; keys that share a line share its words."""
    found: dict[str, str] = {}
    for line in readme.read_text(encoding="utf-8").splitlines():
        cells = [one.strip() for one in line.strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) == 3:
            found |= {key: cell(cells[2]) for key in re.findall(r"`([\w#]+)`", cells[0])}
    return found
