"""Rebuild the demo weights from nothing: draw phantoms, train the small CLIP and the small SAM.

    python -m tools.training.demo_models --output demo_weights                       # both, side by side
    python -m tools.training.demo_models --output another_seed --seed 1 --only clip  # one of the two
    python -m tools.training.demo_models --output quick --clip-steps 200 --sam-steps 200 --pairs 400

The result has the form of medclipsam_monai/resources/demo: clip/ and sam/, with training.json beside them. Measure it
with `python -m tools.figures.evaluate_demo`.
"""

from __future__ import annotations

import json
import logging
import platform
import tempfile
import time
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import torch
import typer

from medclipsam_monai.base.devices import resolve_device
from tools.training.clip import ClipSchedule, ClipTrainer
from tools.training.clip_files import train_tokenizer
from tools.training.corpus import build_corpus
from tools.training.sam import train_sam
from tools.training.side_by_side import Job, run_side_by_side, set_up

_log = logging.getLogger("demo_models")


class Network(str, Enum):
    """What can be trained."""

    clip = "clip"
    sam = "sam"


def _train_clip(corpus: Path, pairs: int, output: Path, device: str, schedule: ClipSchedule) -> None:
    set_up()
    train_tokenizer(output)
    ClipTrainer(build_corpus(corpus, pairs), output, schedule, resolve_device(device)).run()


def _train_sam(corpus: Path, pairs: int, output: Path, device: str, steps: int, seed: int) -> None:
    set_up()
    train_sam(build_corpus(corpus, pairs), output, resolve_device(device), steps=steps, seed=seed)


def main(
    output: Annotated[Path, typer.Option(help="Folder for clip/, sam/ and training.json.")],
    seed: Annotated[int, typer.Option(help="Of weights, order, captions and prompts.")] = 0,
    clip_steps: Annotated[int, typer.Option(help="Optimiser steps of the CLIP.")] = 6_000,
    sam_steps: Annotated[int, typer.Option(help="Optimiser steps of the SAM.")] = 8_000,
    only: Annotated[Network | None, typer.Option(help="Train one of the two.")] = None,
    pairs: Annotated[int, typer.Option(help="Pairs of phantoms to draw.")] = 16_000,
    corpus: Annotated[Path | None, typer.Option(help="Keep or find the drawn phantoms here (200 kB each).")] = None,
    grounding: Annotated[float, typer.Option(help="Weight of the CLIP's term that uses masks; 0 = none.")] = 1.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Train both networks side by side, one core each."""
    set_up()
    started = time.perf_counter()
    schedule = ClipSchedule(steps=clip_steps, grounding=grounding, seed=seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = corpus or Path(scratch)
        drawn = build_corpus(folder, pairs)
        _log.info("%d phantoms drawn in %.0f s", len(drawn), time.perf_counter() - started)
        jobs: dict[str, Job] = {
            "clip": (_train_clip, (folder, pairs, output / "clip", device, schedule)),
            "sam": (_train_sam, (folder, pairs, output / "sam", device, sam_steps, seed)),
        }
        minutes = run_side_by_side({name: job for name, job in jobs.items() if only is None or name == only.value})
    minutes["all"] = round((time.perf_counter() - started) / 60, 1)
    record = {
        "seed": seed,
        "phantoms": 2 * pairs,
        "minutes": minutes,
        "clip": asdict(schedule),
        "sam": {"steps": sam_steps},
        "device": str(resolve_device(device)),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    (output / "training.json").write_text(json.dumps(record, indent=4) + "\n", encoding="utf-8")
    _log.info("done in %.1f minutes", minutes["all"])


if __name__ == "__main__":
    typer.run(main)
