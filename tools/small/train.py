"""Train the `small` networks: real images whose terms allow it, and phantoms, from the demo networks on.

    python -m tools.small.train DATA --output small                    # the CLIP, then the SAM, by two processes
    python -m tools.small.train DATA --output small --clip-steps 200 --sam-steps 200 --pairs 200
    python -m tools.small.train DATA --output more --only clip --clip-start small --clip-steps 900 --clip-peak 4e-4

DATA holds open/segmentation.csv and segmentation.csv, see `tools.small.course`. Where it holds chest X-rays, masks of
their lungs are made without any that was drawn (`tools.small.lungs`): by the demo networks first, and again by what has
been learnt when half of the CLIP's steps are done, and when all are, for the SAM. A run that was cut off goes on where
it was saved last, when the same command is given again. The result is clip/, sam/, lungs/, preset.json and
training.json.
"""

from __future__ import annotations

import logging
import platform
import time
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import torch
import typer

from medclipsam_monai.base.devices import resolve_device
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import write_json
from medclipsam_monai.phantoms.seeds import REAL_PARTNERS, REAL_TRAINING
from medclipsam_monai.presets.preset import load_preset
from medclipsam_monai.weights.pyramid_vit import BLOCKS, medclipsam_pyramid_vit_224
from medclipsam_monai.weights.registry import resolve
from tools.small.clip import ClipSchedule, ClipTrainer
from tools.small.course import open_course, training_rows
from tools.small.lungs import has_xrays, is_done, run_round
from tools.small.sam import train_sam
from tools.small.texts.vocabulary import copy_tokenizer, is_small, train_tokenizer
from tools.small.together import train_together
from tools.training.clip_files import write_clip_config
from tools.training.corpus import build_corpus
from tools.training.side_by_side import set_up

_log = logging.getLogger("small")


class Network(str, Enum):
    """What can be trained."""

    clip = "clip"
    sam = "sam"


_ROUNDS = 2
"""Rounds of masks that the CLIP is trained with; the SAM is with those of one more."""


def _clip(
    data: Path,
    output: Path,
    pairs: int,
    device: str,
    start: Path,
    schedule: ClipSchedule,
    until: int,
    worker: int,
    workers: int,
) -> None:
    course = open_course(data, output, pairs)
    ClipTrainer(course, output / "clip", schedule, resolve_device(device), start, worker, workers).run(until)


def _sam(
    data: Path, output: Path, pairs: int, device: str, start: str, steps: int, seed: int, worker: int, workers: int
) -> None:
    course = open_course(data, output, pairs)
    train_sam(course, output / "sam", resolve_device(device), Path(start), steps, seed, worker=worker, workers=workers)


def _make_masks(data: Path, output: Path, number: int, device: str, start: str) -> None:
    """Masks of the X-rays' lungs by a preset to start from, later by what has been learnt, unless that was done."""
    if not is_done(output / "lungs", number):
        run_round(data, str(output / "preset.json") if number else start, output / "lungs", number, device)


def _has_clip(output: Path) -> bool:
    return (output / "clip" / "open_clip_model.safetensors").is_file()


def _write_preset(output: Path, sam_start: str) -> None:
    saliency = {**load_preset("demo").settings.values["saliency"], "layer": BLOCKS - 1, "gamma": 0.3, "samples": 3}
    sam = output / "sam" if (output / "sam").is_dir() else sam_start
    about = "Small networks, trained on real images and phantoms. Never for clinical use."
    networks = {"sam": str(sam)} | ({"clip": str(output / "clip")} if _has_clip(output) else {})
    write_json({"extends": "demo", "description": about, **networks, "saliency": saliency}, output / "preset.json")


def main(
    data: Annotated[Path, typer.Argument(help="Folder of open/segmentation.csv and segmentation.csv.")],
    output: Annotated[Path, typer.Option(help="Folder for clip/, sam/, preset.json and training.json.")],
    seed: Annotated[int, typer.Option(help="Of order, captions, prompts and variation.")] = 0,
    clip_steps: Annotated[int, typer.Option(help="Optimiser steps of the CLIP.")] = ClipSchedule.steps,
    sam_steps: Annotated[int, typer.Option(help="Optimiser steps of the SAM.")] = 7_500,
    clip_start: Annotated[str, typer.Option(help="Preset whose CLIP to go on from.")] = "demo",
    clip_peak: Annotated[float, typer.Option(help="Highest learning rate of the CLIP.")] = ClipSchedule.peak,
    sam_start: Annotated[str, typer.Option(help="Preset whose SAM to go on from.")] = "demo",
    only: Annotated[Network | None, typer.Option(help="Train one of the two.")] = None,
    pairs: Annotated[int, typer.Option(help="Pairs of phantoms to draw.")] = 3_000,
    workers: Annotated[int, typer.Option(help="Processes that train together: one a core, or one a GPU.")] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Train the CLIP, then the SAM."""
    set_up()
    started, output = time.perf_counter(), output.resolve()
    schedule = ClipSchedule(steps=clip_steps, peak=clip_peak, seed=seed)
    try:
        rows = training_rows(data, "train")
        first, start = Path(resolve(load_preset(clip_start).clip)), str(resolve(load_preset(sam_start).sam))
        rounds = _ROUNDS if has_xrays(data) and not is_small(first) else 1
    except InputError as error:
        typer.echo(f"train: {error}", err=True)
        raise typer.Exit(2) from error
    build_corpus(output / "phantoms", pairs, REAL_TRAINING, REAL_PARTNERS)
    if not (output / "clip" / "vocab.txt").is_file():
        if is_small(first):
            copy_tokenizer(first, output / "clip")
        else:
            train_tokenizer(output / "clip")
    write_clip_config(output / "clip", medclipsam_pyramid_vit_224.__name__)
    common, meeting, minutes = (data, output, pairs, device), output / "meeting", dict[str, float]()
    if only is not Network.sam:
        minutes["clip"] = 0.0
        for number in range(rounds):
            if has_xrays(data):
                _make_masks(data, output, number, device, clip_start)
            until = clip_steps * (number + 1) // rounds
            minutes["clip"] += train_together(_clip, (*common, first, schedule, until), workers, meeting)
            _write_preset(output, start)
    if only is not Network.clip:
        if has_xrays(data) and _has_clip(output):
            _make_masks(data, output, rounds, device, clip_start)
        minutes["sam"] = train_together(_sam, (*common, start, sam_steps, seed), workers, meeting)
    minutes["all"] = round((time.perf_counter() - started) / 60, 1)
    _write_preset(output, start)
    record = {
        "seed": seed,
        "workers": workers,
        "images": len({row.image for row in rows}),
        "phantoms": 2 * pairs,
        "minutes": minutes,
        "clip": {**asdict(schedule), "start": clip_start},
        "sam": {"steps": sam_steps, "start": sam_start},
        "device": str(resolve_device(device)),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    write_json(record, output / "training.json")
    _log.info("done in %.1f minutes", minutes["all"])


if __name__ == "__main__":
    typer.run(main)
