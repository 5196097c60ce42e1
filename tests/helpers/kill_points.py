"""A process that starts children which segment, and are killed at a chosen step or run beside each other.

Started as ``python kill_points.py FOLDER`` with pictures in FOLDER/in; prints one JSON object. The networks are loaded
once, and each child is a fork: a process of its own, ended by SIGKILL at the n-th change of a file that it is about to
make.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from medclipsam_monai import TextSegmenter
from medclipsam_monai.io.records import is_unchanged, read_record
from medclipsam_monai.zero_shot.batch import segment_files

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
FIRST, SECOND = ["lungs"], ["heart"]


def main(folder: Path) -> dict[str, Any]:
    """All rounds; what each led to."""
    torch.set_num_threads(1)
    segmenter = TextSegmenter.from_preset("demo", "cpu")
    image = folder / "in" / "a.png"
    expected = {}
    for name, text in (("first", FIRST), ("second", SECOND)):
        segment_files(segmenter, [image], text, folder / name)
        expected[name] = contents(folder / name)
    return {
        "expected": expected,
        "over_another": over_another(segmenter, image, folder),
        "from_nothing": from_nothing(segmenter, image, folder),
        "side_by_side": side_by_side(segmenter, folder),
    }


def over_another(segmenter: TextSegmenter, image: Path, folder: Path) -> list[dict[str, Any]]:
    """The second text is killed on its way over the first; then either text is asked for again."""
    rounds = []
    for step in range(100):
        output = folder / f"over_{step}"
        shutil.copytree(folder / "first", output)
        killed = in_child(lambda: segment_files(segmenter, [image], SECOND, output, overwrite=True), step)  # noqa: B023
        again = folder / f"over_{step}_again"
        shutil.copytree(output, again)
        told: list[str] = []
        segment_files(segmenter, [image], FIRST, again, notify=lambda kind, line: told.append(kind))  # noqa: B023
        rounds.append({"killed": whole(output), "first": [told[-1], contents(again)]})
        finished = segment_files(segmenter, [image], SECOND, output, overwrite=True)
        rounds[-1]["second"] = [len(finished.done), contents(output)]
        if not killed:
            break
    return rounds


def from_nothing(segmenter: TextSegmenter, image: Path, folder: Path) -> list[dict[str, Any]]:
    """The first text is killed in an empty folder; then the same is asked for again, and another text."""
    rounds = []
    for step in range(100):
        output = folder / f"empty_{step}"
        killed = in_child(lambda: segment_files(segmenter, [image], FIRST, output), step)  # noqa: B023
        finished = (output / "a.json").exists()
        other = folder / f"empty_{step}_other"
        shutil.copytree(output, other) if output.exists() else None
        same = segment_files(segmenter, [image], FIRST, output)
        second = segment_files(segmenter, [image], SECOND, other)
        rounds.append(
            {
                "finished": finished,
                "same": [len(same.failed), contents(output)],
                "other": [len(second.failed), contents(other)],
            }
        )
        if not killed:
            break
    return rounds


def side_by_side(segmenter: TextSegmenter, folder: Path) -> list[dict[str, Any]]:
    """Two processes on one folder: with two texts that replace each other, and with one text."""
    rounds = []
    for number in range(6):
        output = folder / f"both_{number}"
        texts = (FIRST, SECOND) if number % 2 else (FIRST, FIRST)
        children = [start(segmenter, folder, text, output, overwrite=bool(number % 2)) for text in texts]
        codes = [os.waitpid(child, 0)[1] for child in children]
        told = [json.loads((folder / f"told_{child}.json").read_text()) for child in children]
        rounds.append({"codes": codes, "told": told, "whole": whole(output), "files": sorted(contents(output))})
    return rounds


def start(segmenter: TextSegmenter, folder: Path, text: list[str], output: Path, overwrite: bool) -> int:
    child = os.fork()
    if child:
        return child
    summary = segment_files(segmenter, [folder / "in"], text, output, overwrite=overwrite)
    told = {"done": len(summary.done), "skipped": len(summary.skipped), "failed": summary.failed}
    (folder / f"told_{os.getpid()}.json").write_text(json.dumps(told))
    os._exit(0)


def in_child(work: Any, step: int) -> bool:
    """Run in a child that is killed before its ``step``-th change; whether it was."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    left = step

    def watch(event: str, _: Any) -> None:
        nonlocal left
        if event in CHANGES:
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(watch)
    work()
    os._exit(0)


def whole(folder: Path) -> bool:
    """Whether every record's outputs are there as it says."""
    records = [read_record(path) for path in folder.glob("*.json")]
    return all(
        record is not None and all(is_unchanged(folder / name, sha) for name, sha in record["outputs"].items())
        for record in records
    )


def contents(folder: Path) -> dict[str, str]:
    """The outputs by name, as their bytes' beginning and length; of a record its texts. Hidden files too."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".json":
            found[path.name] = str(json.loads(path.read_text())["texts"])
        else:
            found[path.name] = path.read_bytes().hex() if path.is_file() else "folder"
    return found


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
