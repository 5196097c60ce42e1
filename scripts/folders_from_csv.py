"""Lay the images of one task of a table out as the folders that the weak-supervision bundle takes.

    python scripts/folders_from_csv.py data/segmentation.csv lung_xray lungs_xray
    cd bundles/medclipsam_weak_segmentation
    python -m monai.bundle run --config_file configs/train.json --text lungs \\
        --dataset_dir ../../lungs_xray/train --test_dir ../../lungs_xray/test

The table has the columns task, image and mask (paths beside it). A third of the images, chosen by the hash of their
names, becomes ``test`` with ``images`` and ``labels``; the others become ``train``, without their masks.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Annotated

import typer

from medclipsam_monai.data.held_out import is_held_out


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
    for row in rows:
        image, mask = table.parent / row["image"], table.parent / row["mask"]
        held_out = is_held_out(image.stem, share)
        copies = [(image, output / ("test" if held_out else "train") / "images" / image.name)]
        if held_out:
            copies.append((mask, output / "test" / "labels" / f"{image.stem}{mask.suffix}"))
        for source, target in copies:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    print(f"{len(rows)} images: {len(list((output / 'test' / 'images').iterdir()))} held out")


if __name__ == "__main__":
    typer.run(main)
