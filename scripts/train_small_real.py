"""Small networks on real images: the demo CLIP fine-tuned on captions, the demo SAM on masks, and how to use them.

    python scripts/train_small_real.py DATA --output real
    python scripts/study.py real/test.csv --preset real/preset.json --output study

DATA holds segmentation.csv (columns task, image, mask, target, finding; each task has a prompt set of its name) and, if
wanted, image_text.csv (image, caption, case). Images are split in halves by their names: real/train.csv is learnt from,
real/test.csv is not. CLIP is trained by the bundle medclipsam_finetune on captions alone: sentences of the task's
prompt set that hold for the image, the captions of image_text.csv, and phantoms against forgetting. SAM goes on with
phantoms and the training half's masks. The result is a preset by path; nothing of it belongs into the repository.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from medclipsam_monai.data.held_out import is_held_out
from medclipsam_monai.devices import resolve_device
from medclipsam_monai.errors import InputError
from medclipsam_monai.files import write_text
from medclipsam_monai.io import write_json
from medclipsam_monai.presets.preset import load_preset
from medclipsam_monai.study.cases import Case, read_cases
from medclipsam_monai.study.table import as_csv
from medclipsam_monai.training.corpus import build_corpus
from medclipsam_monai.training.real_images import (
    caption_cases,
    caption_phantoms,
    caption_table,
    joined,
    masks_corpus,
)
from medclipsam_monai.training.sam import train_sam
from medclipsam_monai.training.side_by_side import run_side_by_side
from medclipsam_monai.weights import resolve

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "medclipsam_finetune"
_PHANTOM_SEED = 60_000_000  # SAM's phantoms: seeds that neither the demo training nor its evaluation uses
_log = logging.getLogger("train_small_real")


def _set_up() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    torch.set_num_threads(1)


def write_halves(data: Path, output: Path, share: float) -> tuple[list[Case], list[Case]]:
    """The cases to learn from and those to test on, also as train.csv and test.csv.

    Raises:
        InputError: a table that cannot be used, or one of the halves is empty.
    """
    cases = read_cases(data / "segmentation.csv")
    halves: tuple[list[Case], list[Case]] = ([], [])
    for case in cases:
        halves[is_held_out(case.image.stem, share)].append(case)
    for half, name in zip(halves, ("train", "test"), strict=True):
        if not half:
            raise InputError(f"no image of {data} would be used to {name}, with a share of {share} held out")
        write_text(output / f"{name}.csv", as_csv(map(_absolute, half)))
    return halves


def _absolute(case: Case) -> dict[str, str]:
    places = {"image": str(case.image.resolve()), "mask": str(case.mask.resolve())}
    return {"task": case.task, **places, "target": case.target, "finding": case.finding}


def write_captions(data: Path, cases: Sequence[Case], captions: int, phantoms: int, output: Path) -> int:
    """Write pairs.csv, the table to fine-tune CLIP on; returns the number of pairs."""
    tables: Iterable[Path] = [table for table in (data / "image_text.csv",) if table.is_file()]
    rows = [
        *caption_cases(cases, captions),
        *chain.from_iterable(map(caption_table, tables)),
        *caption_phantoms(phantoms, output / "phantoms"),
    ]
    write_text(output / "pairs.csv", as_csv(map(asdict, rows)))
    return len(rows)


def _train_clip(output: Path, device: str, settings: dict[str, Any]) -> None:
    """Fine-tune the demo CLIP by the bundle, DHN-NCE."""
    options = {
        "dataset_dir": output / "pairs.csv",
        "output_dir": output / "finetune",
        "ckpt_dir": output / "finetune",
        "clip_dir": output / "clip",
        "device": f"$torch.device('{resolve_device(device)}')",
        "min_caption_length": 1,  # a word or two is what users ask for
        "amp": True,
        **settings,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/train.json", *words]
    sys.exit(subprocess.run(command, cwd=BUNDLE).returncode)


def _train_sam(cases: Sequence[Case], phantoms: int, output: Path, device: str, steps: int) -> None:
    """Go on with the demo SAM: phantoms and real masks, half and half."""
    _set_up()
    drawn, real = build_corpus(output / "corpus", phantoms, _PHANTOM_SEED, workers=1), masks_corpus(cases)
    corpus = joined(drawn, real, repeat=max(1, round(len(drawn) / len(real))))
    start = Path(resolve(load_preset("demo").sam))
    train_sam(corpus, output / "sam", resolve_device(device), steps=steps, peak=3e-4, start=start)


def main(
    data: Annotated[Path, typer.Argument(help="Folder of segmentation.csv and, if wanted, image_text.csv.")],
    output: Annotated[Path, typer.Option(help="Folder for preset.json, clip/, sam/, train.csv and test.csv.")],
    share: Annotated[float, typer.Option(help="Part of the images that is held out.")] = 0.5,
    captions: Annotated[int, typer.Option(help="Captions an image.")] = 3,
    phantoms: Annotated[int, typer.Option(help="Phantoms among the pairs, and pairs of them for SAM.")] = 1_000,
    epochs: Annotated[int, typer.Option(help="Of CLIP.")] = 6,
    rate: Annotated[float, typer.Option(help="Highest learning rate of CLIP.")] = 1e-4,
    batch: Annotated[int, typer.Option(help="Pairs in a batch of CLIP's.")] = 64,
    temperature: Annotated[float, typer.Option(help="Of DHN-NCE.")] = 0.1,
    sam_steps: Annotated[int, typer.Option(help="Optimiser steps of SAM.")] = 1_500,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Train both networks side by side, one core each."""
    _set_up()
    started = time.perf_counter()
    output = output.resolve()
    try:
        train, test = write_halves(data, output, share)
        pairs = write_captions(data, train, captions, phantoms, output)
    except InputError as error:
        typer.echo(f"train_small_real: {error}", err=True)
        raise typer.Exit(2) from error
    settings = {"epochs": epochs, "learning_rate": rate, "batch_size": batch, "loss#temperature": temperature}
    settings["retrieval_batch"] = min(50, max(2, pairs // 10))  # of the sixth that the bundle holds out
    _log.info("%d images to learn from, %d held out", len(train), len(test))
    minutes = run_side_by_side(
        {
            "clip": (_train_clip, (output, device, settings)),
            "sam": (_train_sam, (train, phantoms, output, device, sam_steps)),
        }
    )
    minutes["all"] = round((time.perf_counter() - started) / 60, 1)
    preset = {
        "extends": "demo",
        "description": "The demo networks, trained further on real images. Never for clinical use.",
        "clip": str(output / "clip"),
        "sam": str(output / "sam"),
    }
    write_json(preset, output / "preset.json")
    write_text(
        output / "training.json", json.dumps({"minutes": minutes, "train": len(train), "test": len(test)}) + "\n"
    )
    _log.info("done in %.1f minutes: %s", minutes["all"], output / "preset.json")


if __name__ == "__main__":
    typer.run(main)
