"""Measure how well the figures in a mask's record tell good pseudo-labels from bad, and what the quality gate keeps.

    python -m tools.figures.measure_gate                      # 40 phantoms of each of the four modalities, some minutes
    python -m tools.figures.measure_gate --phantoms 10 --skip 1000      # other ones

Each phantom is asked for every target of its modality, those that are there and those that are not, each with its
opposite ("no lungs"). Absent targets are not blanked by their presence, so that presence can be judged, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
import typer

from medclipsam_monai import TextSegmenter
from medclipsam_monai.metrics import presence_auc
from medclipsam_monai.phantoms import TARGETS, TASKS, make_phantom
from medclipsam_monai.phantoms.seeds import GATE
from medclipsam_monai.weak.pseudo.quality_gate import Gate
from tools.figures.evaluate_demo import TEXTS, dice

GOOD, BAD = 0.7, 0.5
"""A good mask has at least this DSC; a bad one less than that."""

Row = Mapping[str, Any]


def measure(segmenter: TextSegmenter, task: str, seed: int) -> list[Row]:
    """For each target of a phantom its entry in the record, whether it is there, and the DSC of its mask."""
    phantom = make_phantom(task, seed)
    names = [name for name in TARGETS[task] if name in TEXTS]
    texts = {name: {"sentences": TEXTS[name], "opposites": f"no {TEXTS[name]}"} for name in names}
    answer = segmenter(np.rint(phantom.image * 255).astype(np.uint8), texts)
    rows = []
    for mask, entry in zip(answer.found.mask, answer.record({})["classes"], strict=True):
        truth = phantom.masks.get(entry["name"], np.zeros(mask.shape, dtype=bool))
        found = {**entry, "fraction": float(mask.float().mean())}  # by itself, without what other classes take
        rows.append({**found, "there": entry["name"] in phantom.masks, "dsc": dice(mask, torch.from_numpy(truth))})
    return [row for row in rows if row["fraction"] > 0]


def describe(title: str, rows: Sequence[Row], gate: Gate) -> None:
    """Print what tells the good masks of some rows from the others, and their scores before and after the gate."""
    good = [row["dsc"] >= GOOD for row in rows]
    print(f"\n{title}: {len(rows)} masks, {np.mean(good):.0%} good (DSC >= {GOOD})")
    for figure in ("presence", "quality", "agreement", "fraction"):
        print(f"  AUC of {figure:10} {presence_auc([row[figure] for row in rows], good):.2f}")
    kept = [row for row in rows if gate.judge({"classes": [row]}).kept]
    for name, some in (("before", rows), ("after", kept)):
        scores = np.array([row["dsc"] for row in some])
        share = sum(scores >= GOOD) / max(1, sum(good))
        print(
            f"  {name:6} the gate: {len(some):4} masks, mean DSC {scores.mean():.3f}, below {BAD} "
            f"{np.mean(scores < BAD):.1%}, of the good {share:.0%}"
        )


def main(
    phantoms: Annotated[int, typer.Option(help="Phantoms of each modality.")] = 40,
    skip: Annotated[int, typer.Option(help="Phantoms to pass over before the first one.")] = 0,
    preset: Annotated[str, typer.Option(help="Whose masks to judge.")] = "demo",
    device: Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")] = "auto",
) -> None:
    """Measure the default gate."""
    segmenter = TextSegmenter.from_preset(preset, device, settings={"presence_threshold": 0.0})
    rows = [row for task in TASKS for seed in GATE.seeds(phantoms, skip) for row in measure(segmenter, task, seed)]
    describe("targets that are there", [row for row in rows if row["there"]], Gate())
    describe("all targets", rows, Gate())


if __name__ == "__main__":
    typer.run(main)
