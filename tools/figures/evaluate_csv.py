"""Segment the images of a table by text and score them against their masks, beside two baselines that cost nothing.

    python -m tools.figures.evaluate_csv data/segmentation.csv --output results --preset demo --limit 20

The table has the columns task, image, mask (paths beside it) and target (the text, one a task unless --text says
otherwise). The baselines know the answer's box: the whole box, and the ellipse inside it.
"""

from __future__ import annotations

import csv
import json
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from medclipsam_monai import TextSegmenter
from medclipsam_monai.io.inputs.stems import distinct_stems
from medclipsam_monai.metrics import SegmentationReport, score_masks
from tools.data.baselines import box_and_ellipse


def rows_by_task(table: Path, limit: int) -> dict[str, list[dict[str, str]]]:
    """At most ``limit`` rows of each task, spread evenly over the table; 0 for all."""
    tasks: dict[str, list[dict[str, str]]] = defaultdict(list)
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            tasks[row["task"]].append(row)
    if not limit:
        return dict(tasks)
    step = {task: max(1, len(rows) // limit) for task, rows in tasks.items()}
    return {task: rows[:: step[task]][:limit] for task, rows in tasks.items()}


def main(
    table: Annotated[Path, typer.Argument(help="CSV with task, image, mask, target.")],
    output: Annotated[Path, typer.Option(help="Folder for overlays, scores.csv and summary.json.")],
    preset: Annotated[str, typer.Option()] = "demo",
    limit: Annotated[int, typer.Option(help="Images of each task, spread over the table; 0 for all.")] = 0,
    text: Annotated[list[str] | None, typer.Option(help="TASK=text in place of the table's target.")] = None,
    clip: Annotated[str | None, typer.Option(help="CLIP weights in place of the preset's.")] = None,
    sam: Annotated[str | None, typer.Option(help="SAM weights in place of the preset's.")] = None,
    device: Annotated[str, typer.Option()] = "auto",
) -> None:
    """Write scores per image and a table per task."""
    warnings.simplefilter("ignore", FutureWarning)
    texts = dict(item.split("=", 1) for item in text or [])
    segmenter = TextSegmenter.from_preset(preset, device, clip, sam)
    summaries = {}
    print("| task | text | images | DSC | NSD | box DSC | ellipse DSC |\n|---|---|---|---|---|---|---|")
    for task, rows in rows_by_task(table, limit).items():
        reports = {name: SegmentationReport() for name in ("ours", "box", "ellipse")}
        stems = distinct_stems([table.parent / row["image"] for row in rows])
        for row, stem in zip(rows, stems, strict=True):
            truth = np.asarray(Image.open(table.parent / row["mask"]).convert("L")) > 0
            segmentation = segmenter(table.parent / row["image"], texts.get(task, row["target"]))
            segmentation.save(output / task, stem=stem, overwrite=True)
            found = {"ours": segmentation.stored_mask() > 0}
            found["box"], found["ellipse"] = box_and_ellipse(truth)
            for name, mask in found.items():
                reports[name].add(row["image"], [row["target"]], score_masks(mask[None], truth[None]))
        reports["ours"].write_csv(output / f"{task}.csv")
        overall = {name: report.summary().overall for name, report in reports.items()}
        ours = overall["ours"]
        summaries[task] = {"text": texts.get(task, rows[0]["target"]), "dsc": ours["dsc"].mean, "nsd": ours["nsd"].mean}
        print(
            f"| {task} | {summaries[task]['text']} | {len(rows)} | {ours['dsc'].mean:.3f} | {ours['nsd'].mean:.3f} "
            f"| {overall['box']['dsc'].mean:.3f} | {overall['ellipse']['dsc'].mean:.3f} |",
            flush=True,
        )
    (output / "summary.json").write_text(json.dumps(summaries, indent=4) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
