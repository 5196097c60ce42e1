"""What is wrong in an output folder, compared with clean runs of each text."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.robustness.kill_bench import Run


def _stem(image: str) -> str:
    return image.removesuffix(".nii.gz").removesuffix(".png")


def _content(path: Path) -> bytes:
    """A file's bytes, unpacked: a gzip file holds the time at which it was written."""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def _output_names(record: dict[str, Any]) -> list[str]:
    return list(record["outputs"])  # names, or names with their hashes


def _wrong_hashes(record: dict[str, Any], folder: Path) -> list[str]:
    outputs = record["outputs"]
    hashes = outputs.items() if isinstance(outputs, dict) else ()
    return [name for name, sha in hashes if hashlib.sha256((folder / name).read_bytes()).hexdigest() != sha]


def wrong_records(folder: Path, clean: dict[str, Path]) -> Iterator[str]:
    """What is wrong with the records that are there: each must be whole, and stand beside the files of its own text."""
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            (text,) = record["texts"]
        except (ValueError, KeyError):
            yield f"{path.name} is damaged"
            continue
        right = json.loads((clean[text] / path.name).read_text(encoding="utf-8"))
        if record["request"] != right["request"] or _output_names(record) != _output_names(right):
            yield f"{path.name} is not what a clean run of {text!r} writes"
        for name in _output_names(record):
            if not (folder / name).is_file():
                yield f"{path.name} names {name}, which is not there"
            elif _content(folder / name) != _content(clean[text] / name):
                yield f"{path.name} says {text!r}, and {name} is of another text"
        if all((folder / name).is_file() for name in _output_names(record)):
            yield from (f"{path.name} has not the hash of {name}" for name in _wrong_hashes(record, folder))


def wrong_answers(run: Run, text: str, folder: Path, clean: dict[str, Path]) -> Iterator[str]:
    """What is wrong with what a run says it did: done and skipped is its own text, failed is a whole result of another.

    Args:
        run: one that came to its end.
        text: what it was asked.
        folder: where it wrote, with nothing else at work there.
        clean: see `Bench`.
    """
    if run.trouble:
        yield f"a run of {text!r}: {run.trouble}"
        return
    for name in (*run.done, *run.skipped, *run.failed):
        path = folder / f"{_stem(name)}.json"
        said = "done" if name in run.done else "skipped" if name in run.skipped else "failed"
        if not path.is_file():
            yield f"{name} is {said} for {text!r} and has no record ({run.failed.get(name, '')})"
            continue
        is_own = text in json.loads(path.read_text(encoding="utf-8"))["texts"]
        if is_own != (said != "failed"):
            yield f"{name} is {said} for {text!r}, its record is of {'this' if is_own else 'another'} text"
        if "\n" in run.failed.get(name, ""):
            yield f"{name} failed with several lines: {run.failed[name]!r}"


def leftovers(folder: Path, clean: Path) -> Iterator[str]:
    """Files that a clean run does not leave, hidden ones too, and those that are missing."""
    here, right = ({path.name for path in place.iterdir()} for place in (folder, clean))
    yield from (f"{name} is left over" for name in sorted(here - right))
    yield from (f"{name} is missing" for name in sorted(right - here))
