"""The table of docs/how-to/weights.md that lists all published networks, from ``resources/weights.json``."""

from __future__ import annotations

from pathlib import Path

from medclipsam_monai.weights.entries import WeightEntry, known_weights

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "weights.md"
BEGIN, END = "<!-- table of all networks -->", "<!-- end of the table -->"


def row(entry: WeightEntry) -> str:
    """An entry as a line of the table."""
    way = "by hand" if entry.by_hand else "gated" if entry.gated else "download"
    checked = (
        "SHA-256" if entry.sha256 else "by hand" if entry.by_hand else "form" if entry.size is None else "size, form"
    )
    cells = (
        f"`{entry.name}`",
        f"[{entry.what}]({entry.source})",
        f"`{entry.kind}`" if entry.kind else "",
        entry.size_said,
        entry.licence_said,
        way,
        "not checked" if checked == "by hand" else checked,
        entry.note,
    )
    return f"| {' | '.join(cells)} |"


def table() -> str:
    """All entries in Markdown."""
    head = "| name | what | kind | size | licence | how it comes | checked by | |\n|---|---|---|---|---|---|---|---|"
    return "\n".join([head, *map(row, known_weights().values())])


def page() -> str:
    """The page with the table in its place; the rest of it is written by hand."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"
