"""The table of an archive: Parquet files in its folder ``table``, each whole, no image in two of them.

A row is added by writing a new file, which is there whole or not at all, see `Store`. Where an image has a row
already, that one goes first, by writing its file anew without it: so whenever a process is killed, no image has two
rows, and one whose row is gone gets it back from its record in the next run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from medclipsam_monai.archive.rows import CLASS
from medclipsam_monai.archive.stores.store import Store, part_name
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.tables.parquet import TABLE_FOLDER

_TEXT, _NUMBER = pa.string(), pa.float64()
_OF_CLASS = pa.struct([(name, _TEXT if name in ("name", "unit") else _NUMBER) for name in CLASS])
_LISTS = {"texts": pa.list_(_TEXT), "warnings": pa.list_(_TEXT), "classes": pa.list_(_OF_CLASS), "seconds": _NUMBER}


def schema_of(own: Iterable[str], carried: Mapping[str, Any]) -> pa.Schema:
    """Names and types of the columns.

    Args:
        own: see `OWN`.
        carried: name -> type of the columns that are carried through, None for text.
    """
    columns = [(name, _LISTS.get(name, _TEXT)) for name in own]
    return pa.schema([*columns, *((name, kind or _TEXT) for name, kind in carried.items())])


class TableParts:
    """The files of a table, and which image is in which.

    Args:
        store: where they are.
        schema: see `schema_of`.

    Raises:
        InputError: they cannot be read, are a table of other columns, or one is no Parquet file.
    """

    def __init__(self, store: Store, schema: pa.Schema) -> None:
        self.schema, self._store = schema, store
        self._named: dict[str, tuple[str, bytes]] = {}
        self._nameless: dict[str, str] = {}
        self._at: dict[str, set[str]] = {}
        for part in store.parts():
            self._remember(part, self._read(part).to_pylist())

    def _read(self, part: str) -> pa.Table:
        shown = f"{self._store.shown}/{TABLE_FOLDER}/{part}"
        try:
            table = parquet.read_table(self._store.read_part(part))
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{shown}: is no whole Parquet file; delete it and run again") from error
        if not table.schema.equals(self.schema):
            raise InputError(f"{shown}: has other columns than this run's table; choose another destination")
        return table

    def _remember(self, part: str, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            self._at.setdefault(row["path"], set()).add(part)
            if row["name"] is None:
                self._nameless[row["path"]] = part
            else:
                self._named[row["name"]] = part, _content(row)

    def __contains__(self, row: Mapping[str, Any]) -> bool:
        """Whether just this row is there."""
        there = self._named.get(row["name"])
        if there is None:
            return False
        stored = self._table([row]).to_pylist()[0]  # a size of 4 is 4.0 there
        return there[1] == _content(stored)

    def has(self, name: str) -> bool:
        """Whether an image of some name has a row."""
        return name in self._named

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows in a file of their own, in place of those that their images have.

        Raises:
            InputError: a file cannot be written.
        """
        if not rows:
            return
        table = self._table(rows)
        self._drop(rows)
        parts = self._store.parts()
        number = int(parts[-1].partition("-")[2].partition(".")[0]) + 1 if parts else 1
        part = part_name(number)
        self._store.write_part(part, partial(parquet.write_table, table))
        self._remember(part, table.to_pylist())

    def _table(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        return pa.Table.from_pylist(list(rows), schema=self.schema)

    def _drop(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Remove the rows of images that get new ones: of one name, or of a path that stands for another thing now."""
        names = {row["name"] for row in rows if row["name"] is not None}
        paths = {row["path"] for row in rows}
        gone = {row["path"] for row in rows if row["name"] is None}
        parts = {self._named[name][0] for name in names & self._named.keys()}
        parts |= {self._nameless[path] for path in paths & self._nameless.keys()}
        parts = parts.union(*(self._at[path] for path in gone & self._at.keys()))
        for part in sorted(parts):
            old = self._read(part).to_pylist()
            kept = [
                row
                for row in old
                if row["name"] not in names and row["path"] not in gone and (row["name"] or row["path"] not in paths)
            ]
            self._forget(part, old)
            if kept:
                self._store.write_part(part, partial(parquet.write_table, self._table(kept)))
                self._remember(part, kept)
            else:
                self._store.remove_part(part)

    def _forget(self, part: str, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            self._at.get(row["path"], set()).discard(part)
            self._nameless.pop(row["path"], None) if row["name"] is None else self._named.pop(row["name"], None)


def _content(row: Mapping[str, Any]) -> bytes:
    """What tells a row from others; its text itself would take a kilobyte of an image."""
    return hashlib.sha256(json.dumps(row, sort_keys=True, default=str).encode()).digest()
