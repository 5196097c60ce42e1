"""Lay the images of one task of a table out as the folders that the weak-supervision bundle takes.

    python -m tools.data.folders_from_csv data/segmentation.csv lung_xray lungs_xray
    cd bundles/medclipsam_weak_segmentation
    python -m monai.bundle run --config_file configs/train.json --text lungs \\
        --dataset_dir ../../lungs_xray/train --test_dir ../../lungs_xray/test

The table has the columns task, image and mask (paths beside it). A third of the images, chosen by the hash of their
names, becomes ``test`` with ``images`` and ``labels``; the others become ``train``, without their masks.
"""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from medclipsam_monai.io.inputs.stems import distinct_stems, file_stem
from tools.data.held_out import is_held_out


def main(
    table: Annotated[Path, typer.Argument(help="CSV with task, image and mask.")],
    task: Annotated[str, typer.Argument(help="Which of its tasks.")],
    output: Annotated[Path, typer.Argument(help="Folder for train/ and test/.")],
    share: Annotated[float, typer.Option(help="Part of the images that is held out.")] = 1 / 3,
) -> None:
    """Copy the images of a task into train/ and test/."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["task"] == task]
    if not rows:
        raise typer.BadParameter(f"{table} has no row of the task {task!r}")
    images = [table.parent / row["image"] for row in rows]
    twice = [str(image) for image, count in Counter(images).items() if count > 1]
    if twice:
        raise typer.BadParameter(f"{table} has two rows of the task {task!r} for {twice[0]}; keep one")
    for row, image, stem in zip(rows, images, distinct_stems(images), strict=True):
        mask, held_out = table.parent / row["mask"], is_held_out(stem, share)
        copies = [(image, output / ("test" if held_out else "train") / "images" / f"{stem}{_suffix(image)}")]
        if held_out:
            copies.append((mask, output / "test" / "labels" / f"{stem}{_suffix(mask)}"))
        for source, target in copies:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    print(f"{len(rows)} images: {len(list((output / 'test' / 'images').iterdir()))} held out")


def _suffix(path: Path) -> str:
    return path.name[len(file_stem(path)) :]


if __name__ == "__main__":
    typer.run(main)
