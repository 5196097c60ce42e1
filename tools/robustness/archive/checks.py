"""What is wrong with an archive's output folder, compared with an undisturbed run of the same command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medclipsam_monai.archive.parts import FOLDER
from tools.robustness.archive.bench import TEXT, Command, marked, wait_until
from tools.robustness.kill_checks import leftovers, wrong_records

_DYING = 120  # seconds until all of a killed run is gone
_BY_CHANCE = ("seconds",)  # what two runs differ in


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """All rows of the table.

    Raises:
        Exception: whatever pyarrow raises on a torn file.
    """
    from pyarrow import parquet

    return [row for part in sorted((folder / FOLDER).glob("*.parquet")) for row in parquet.read_table(part).to_pylist()]


def _wrong_rows(folder: Path, clean: Path) -> Iterator[str]:
    """Rows that are torn, there twice, or not those of a clean run."""
    try:
        rows = rows_of(folder)
    except Exception as error:  # pyarrow has many
        yield f"a file of the table cannot be read: {error}"
        return
    yield from (f"{name} has {count} rows" for name, count in Counter(r["name"] for r in rows).items() if count > 1)
    right = {row["name"]: _told(row) for row in rows_of(clean)}
    yield from (f"{row['name']} has the row {row}" for row in rows if _told(row) != right.get(row["name"]))


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _BY_CHANCE}


def wrong_on_the_way(folder: Path, clean: Path) -> list[str]:
    """What is wrong in a folder whose run was killed: a record beside other files, a torn file, an image twice."""
    if not folder.is_dir():
        return []
    return [*wrong_records(folder, {TEXT: clean}), *_wrong_rows(folder, clean)]


def wrong_at_the_end(folder: Path, clean: Path) -> list[str]:
    """What is wrong in a folder whose run came to its end: also what is missing or left over, hidden files too."""
    missing = {row["name"] for row in rows_of(clean)} - {row["name"] for row in rows_of(folder)}
    return [
        *wrong_on_the_way(folder, clean),
        *(f"{name} has no row" for name in sorted(missing)),
        *leftovers(folder, clean),
        *(f"{FOLDER}/{path.name} is left over" for path in (folder / FOLDER).glob(".*")),
    ]


def strays(run: Command) -> list[str]:
    """Processes of a run whose driver has ended, after a while to end in."""
    wait_until(lambda: not marked(run.mark), _DYING, every=0.5)
    return [f"still there after {_DYING} s: {words[:80]}" for words in marked(run.mark).values()]
