"""What is wrong with an archive's output folder, compared with an undisturbed run of the same command."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medclipsam_monai.io.tables.parquet import TABLE_FOLDER
from tools.robustness.archive.bench import TEXT, Command, marked, wait_until
from tools.robustness.kill_checks import leftovers, wrong_records

_DYING = 120  # seconds until all of a killed run is gone
_LISTENS = "0A"
_LOOPBACK = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
"""127.0.0.1, ::1 and ::ffff:127.0.0.1 as the kernel writes them."""

_BY_CHANCE = ("seconds",)  # what two runs differ in


def table_files(folder: Path) -> list[Path]:
    """The Parquet files of an output folder's table."""
    return sorted((folder / TABLE_FOLDER).glob("[!.]*.parquet"))


def _rows_of(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """All rows of the table, and a line for each file of it that cannot be read."""
    from pyarrow import parquet

    rows: list[dict[str, Any]] = []
    torn = []
    for part in table_files(folder):
        try:
            rows += parquet.read_table(part).to_pylist()
        except Exception as error:  # pyarrow has many
            torn.append(f"{part.name} of the table cannot be read: {error}")
    return rows, torn


def _wrong_rows(folder: Path, clean: Path) -> Iterator[str]:
    """Rows that are torn, there twice, or not those of a clean run."""
    rows, torn = _rows_of(folder)
    yield from torn
    yield from (f"{name} has {count} rows" for name, count in Counter(r["name"] for r in rows).items() if count > 1)
    right = {row["name"]: _told(row) for row in _rows_of(clean)[0]}
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
    missing = {row["name"] for row in _rows_of(clean)[0]} - {row["name"] for row in _rows_of(folder)[0]}
    return [
        *wrong_on_the_way(folder, clean),
        *(f"{name} has no row" for name in sorted(missing)),
        *leftovers(folder, clean),
        *(f"{path.name} is left over beside the table" for path in folder.glob("*/.*")),
    ]


def open_doors(run: Command) -> list[str]:
    """Addresses that a run with a Ray of its own listens on, and that others than this machine reach."""
    sockets = set()
    for number in run.below():
        with contextlib.suppress(OSError):
            sockets |= {os.readlink(file) for file in Path("/proc", str(number), "fd").iterdir()}
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    ours = [line[1] for line in lines if line[3] == _LISTENS and f"socket:[{line[9]}]" in sockets]
    return [f"it listens on {place}" for place in ours if place.split(":")[0] not in _LOOPBACK]


def strays(run: Command) -> list[str]:
    """Processes of a run whose driver has ended, after a while to end in."""
    wait_until(lambda: not marked(run.mark), _DYING, every=0.5)
    return [f"still there after {_DYING} s: {words[:80]}" for words in marked(run.mark).values()]
