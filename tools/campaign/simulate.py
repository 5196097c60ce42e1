"""Simulate annotation campaigns: does it pay to choose which image is labelled next?

    python -m tools.campaign.simulate                                                          # phantoms, 10 minutes
    python -m tools.campaign.simulate --images scans/images --masks scans/masks --text lungs --output lungs

Each strategy (random, most uncertain, the mix with farthest first) asks for labels, which the masks give; a small U-Net
is trained at each number of labels and scored on images that no strategy may ask for. Written are campaign.csv (a row a
training), campaign.json (means, and the gains over random) and campaign.png.
"""

from __future__ import annotations

import csv
import io
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from medclipsam_monai import TextSegmenter
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_text
from medclipsam_monai.base.json_files import write_json
from medclipsam_monai.phantoms.folder import draw_phantom_folder
from tools.campaign.campaign import (
    STRATEGIES,
    CampaignImage,
    Row,
    draw_campaign,
    read_cases,
    run_campaign,
    split,
    summarise,
)


def rising_numbers(points: str) -> list[int]:
    """ "4,8,16" as numbers.

    Raises:
        InputError: they are none, or do not rise from 1 or more.
    """
    try:
        numbers = [int(point) for point in points.split(",")]
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < 1 or sorted(set(numbers)) != numbers:
        raise InputError(f"--points must be rising positive numbers such as 4,8,16, got {points!r}")
    return numbers


def run_all(cases: Sequence[CampaignImage], points: Sequence[int], seeds: int, held_out: int, steps: int) -> list[Row]:
    """The campaigns of all strategies and seeds, a printed line each."""
    rows: list[Row] = []
    for seed in range(seeds):
        pool, scored = split(cases, held_out, seed)
        for strategy in STRATEGIES:
            found = run_campaign(pool, scored, strategy, seed, points, steps)
            print(f"seed {seed}, {strategy}:", *(f"{row.labels} labels {row.dsc:.3f};" for row in found), flush=True)
            rows += found
    return rows


def write_rows(rows: Sequence[Row], path: Path) -> Path:
    """The trainings as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(asdict(rows[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return write_text(path, text.getvalue())


def main(
    images: Annotated[Path | None, typer.Option(help="Folder of pictures; none for phantoms.")] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder of their masks, under the same names.")] = None,
    text: Annotated[str, typer.Option(help="What the masks show, in words.")] = "heart",
    output: Annotated[Path, typer.Option(help="Folder for table, figures and plot.")] = Path("campaign"),
    points: Annotated[str, typer.Option(help="Numbers of labels at which to train.")] = "4,8,16,32",
    seeds: Annotated[int, typer.Option(min=1, help="Campaigns a strategy.")] = 3,
    held_out: Annotated[int, typer.Option(min=1, help="Images that are scored, and never labelled.")] = 40,
    steps: Annotated[int, typer.Option(min=3, help="Optimiser steps of a training, 8 pictures each.")] = 300,
    count: Annotated[int, typer.Option(min=2, help="Phantoms, where no images are given.")] = 120,
    preset: Annotated[str, typer.Option(help="Networks for wordings and embeddings.")] = "demo",
) -> None:
    """Run the campaigns of all strategies and seeds, and say what choosing gains over random."""
    numbers = rising_numbers(points)
    if (images is None) != (masks is None):
        raise InputError("give both --images and --masks, or neither for phantoms")
    segmenter = TextSegmenter.from_preset(preset)
    with tempfile.TemporaryDirectory(prefix="medclipsam-") as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if images is None or masks is None:
            drawn = draw_phantom_folder(name, "chest_xray", text, count, set_number=5)
            images, masks = drawn / "images", drawn / "labels"
        cases = read_cases(images, masks, text, segmenter)
        if held_out + numbers[-1] > len(cases):
            raise InputError(f"{len(cases)} images are too few to hold out {held_out} and label {numbers[-1]}")
        rows = run_all(cases, numbers, seeds, held_out, steps)
    zero_shot = float(np.mean([case.zero_shot for seed in range(seeds) for case in split(cases, held_out, seed)[1]]))
    summary = summarise(rows, zero_shot)
    write_rows(rows, output / "campaign.csv")
    asked = {"text": text, "images": len(cases), "held_out": held_out, "seeds": seeds, "steps": steps, "preset": preset}
    write_json({**asked, **summary}, output / "campaign.json")
    draw_campaign(rows, zero_shot, f"{text}, {len(cases)} images, {seeds} seeds", output / "campaign.png")
    for strategy, gain in summary["gain_over_random"].items():
        each = ", ".join(f"{value:+.3f}" for value in gain["seeds"])
        print(f"{strategy}: DSC {gain['mean']:+.3f} against random, mean over the numbers of labels (seeds {each})")


if __name__ == "__main__":
    try:
        typer.run(main)
    except InputError as error:
        print(f"simulate_campaign: {error}", file=sys.stderr)
        sys.exit(2)
