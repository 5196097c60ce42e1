"""The rows of a study on disk: one small file an image, so that a study cut off goes on where it was."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_text
from medclipsam_monai.base.json_files import read_object, write_json
from medclipsam_monai.study.cases import Case
from medclipsam_monai.study.runner import Row

_NAMING = "images by their paths"
"""Written into study.json, for older studies named images by their base names and must not be gone on with."""
_LONGEST_NAME = 180  # of 255 that file systems allow, with room for a temporary file's
_NUMBERS = ("dsc", "nsd", "iou", "pointing", "presence", "seconds")


class StudyTable:
    """Rows under ``parts/TASK/IMAGE.csv`` of a folder, and study.json that says what they are rows of.

    An image's part is named by its whole way from the table, so that p1/image.png and p2/image.png are two.

    Args:
        folder: made if it is not there.
        settings: all that decides the rows, as JSON can hold it; a folder with others is refused.

    Raises:
        InputError: the folder holds another study, or cannot be written.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        record, wanted = self.folder / "study.json", json.loads(json.dumps({**settings, "naming": _NAMING}))
        if not record.is_file():
            write_json(wanted, record)
            return
        there = read_object(record, "delete the folder, or give another")
        other = sorted(key for key in wanted.keys() | there.keys() if wanted.get(key) != there.get(key))
        if other:
            raise InputError(f"{folder} holds a study with another {other[0]}; give another folder or delete this one")

    def _part(self, case: Case) -> Path:
        name = quote(case.name, safe=" (),")
        if len(name) > _LONGEST_NAME:
            name = f"{name[-_LONGEST_NAME // 2 :]}_{hashlib.sha256(case.name.encode()).hexdigest()}"
        return self.folder / "parts" / case.task / f"{name}.csv"

    def __contains__(self, case: Case) -> bool:
        return self._part(case).is_file()

    def add(self, case: Case, rows: Iterable[Row]) -> None:
        """Write all rows of one case at once."""
        write_text(self._part(case), as_csv([asdict(row) for row in rows]))

    def rows(self, cases: Iterable[Case]) -> list[Row]:
        """The rows of those cases that are done."""
        return [row for case in cases if case in self for row in _read(self._part(case))]


def read_rows(folder: Path) -> list[Row]:
    """All rows of the study that a folder holds."""
    return [row for part in sorted(folder.glob("parts/*/*.csv")) for row in _read(part)]


def as_csv(lines: Iterable[Mapping[str, Any]]) -> str:
    """Lines with the same keys as the text of a CSV file; nothing for no line."""
    made = list(lines)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(made[0]) if made else [], lineterminator="\n")
    if made:
        writer.writeheader()
    writer.writerows(made)
    return text.getvalue()


def _read(path: Path) -> list[Row]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_row(line) for line in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError(f"{path} is no part of a study ({error}); delete it to compute it again") from error


def _row(line: Mapping[str, str]) -> Row:
    values: dict[str, Any] = {field.name: line[field.name] for field in fields(Row)}
    values |= {name: float(line[name]) for name in _NUMBERS}
    return Row(**{**values, "present": line["present"] == "True"})
