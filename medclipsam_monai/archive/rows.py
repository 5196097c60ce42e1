"""A row of an archive's table: what became of one image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from medclipsam_monai.archive.sources import Item
from medclipsam_monai.base.errors import InputError

OWN = ("path", "name", "state", "error", "texts", "classes", "seconds", "input_sha256", "request", "clip_sha256",
       "sam_sha256", "preset", "version", "mask", "warnings")  # fmt: skip
"""The columns of every table, in their order; what is carried through follows."""

CLASS = ("name", "presence", "size", "unit", "fraction", "quality", "agreement")
"""What ``classes`` holds of each class; see `class_records`."""


def done_row(item: Item, record: Mapping[str, Any]) -> dict[str, Any]:
    """The row of an image whose outputs are there.

    Args:
        item: the image.
        record: of its outputs, see `build_record`.
    """
    weights, outputs = record["weights"], list(record["outputs"])
    return _row(
        item,
        state="done",
        texts=list(record["texts"]),
        classes=[{key: one.get(key) for key in CLASS} for one in record["classes"]],
        seconds=record["seconds"],
        input_sha256=record["input_sha256"],
        request=record["request"],
        clip_sha256=weights.get("clip"),
        sam_sha256=weights.get("sam"),
        preset=record["preset"],
        version=record["version"],
        mask=outputs[0] if outputs else None,
        warnings=list(record["warnings"]),
    )


def failed_row(item: Item, error: str) -> dict[str, Any]:
    """The row of an image that cannot be segmented, with the reason in one line."""
    return _row(item, state="failed", error=error)


def _row(item: Item, **values: Any) -> dict[str, Any]:
    named = {"path": item.path, "name": None if item.source is None else item.source.stem}
    return {name: _text(value) for name, value in {**dict.fromkeys(OWN), **named, **values}.items()} | dict(
        item.carried
    )


def _text(value: Any) -> Any:
    """A value whose texts Parquet can hold: a file's name need not be UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, list):
        return [_text(one) for one in value]
    return {name: _text(one) for name, one in value.items()} if isinstance(value, dict) else value


def check_carried(columns: Iterable[str]) -> None:
    """Refuse columns that would stand for our own or for each other where capitals do not count, as in SQL.

    Raises:
        InputError: with the first one.
    """
    seen: dict[str, str] = {}
    for name in columns:
        if name.casefold() in OWN:
            raise InputError(f"the column {name!r} of the table is one of the results' own; give it another name")
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise InputError(f"the columns {other!r} and {name!r} of the table differ only in capitals; rename one")
