"""Small networks on real images: the demo CLIP and the demo SAM trained further, and a preset that uses them.

    python -m tools.training.small_real DATA --output real                       # CLIP learns from captions alone
    python -m tools.training.small_real DATA --output real --clip-learns masks   # from the masks, too
    medclipsam study real/test.csv --preset real/preset.json --output study

DATA holds segmentation.csv (columns task, image, mask, target, finding; each task has a prompt set of its name) and, if
wanted, image_text.csv (image, caption, case). Images are split in halves by their names: real/train.csv is learnt from,
real/test.csv is not. With captions, CLIP is trained by the bundle medclipsam_finetune: sentences of the task's prompt
set that hold for the image, the captions of image_text.csv, and phantoms against forgetting. With masks, it is trained
as the demo CLIP is (`tools.training.clip`), on phantoms and the training half: that is supervision, and no
figure of it says what text alone can teach. SAM goes on with phantoms and the training half's masks either way. The
result is a preset by path; nothing of it belongs into the repository.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from medclipsam_monai.base.devices import resolve_device
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_text
from medclipsam_monai.base.json_files import write_json
from medclipsam_monai.networks.clip.preprocess import Fit
from medclipsam_monai.phantoms.seeds import REAL_PARTNERS, REAL_TRAINING
from medclipsam_monai.presets.preset import load_preset
from medclipsam_monai.study.cases import Case, read_cases
from medclipsam_monai.study.table import as_csv
from medclipsam_monai.weights.registry import resolve
from tools.data.held_out import is_held_out
from tools.training.clip import ClipSchedule, ClipTrainer
from tools.training.corpus import Corpus, build_corpus
from tools.training.real_captions import caption_cases, caption_phantoms, caption_table
from tools.training.real_corpus import check_shown, check_words, joined, read_real_images, real_corpus
from tools.training.sam import train_sam
from tools.training.side_by_side import Job, run_side_by_side, set_up

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "medclipsam_finetune"
_CAPTIONS = 3  # an image
_FINE_TUNING = {
    "learning_rate": 1e-4,
    "loss#temperature": 0.1,
    "min_caption_length": 1,  # a word or two is what users ask for
    "amp": True,
}
_log = logging.getLogger("small_real")


class Lessons(str, Enum):
    """What CLIP learns real images from."""

    captions = "captions"
    masks = "masks"


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


def write_captions(data: Path, cases: Sequence[Case], phantoms: int, output: Path) -> int:
    """Write pairs.csv, the table to fine-tune CLIP on; returns the number of pairs."""
    tables: Iterable[Path] = [table for table in (data / "image_text.csv",) if table.is_file()]
    rows = [
        *caption_cases(cases, _CAPTIONS),
        *chain.from_iterable(map(caption_table, tables)),
        *caption_phantoms(phantoms, output / "phantoms"),
    ]
    write_text(output / "pairs.csv", as_csv(map(asdict, rows)))
    return len(rows)


def _clip_on_captions(output: Path, device: str, epochs: int, batch: int, pairs: int) -> None:
    """Fine-tune the demo CLIP by the bundle, DHN-NCE."""
    options = {
        "dataset_dir": output / "pairs.csv",
        "output_dir": output / "finetune",
        "ckpt_dir": output / "finetune",
        "clip_dir": output / "clip",
        "device": f"$torch.device('{resolve_device(device)}')",
        "epochs": epochs,
        "batch_size": batch,
        "retrieval_batch": min(50, max(2, pairs // 10)),  # of the sixth that the bundle holds out
        **_FINE_TUNING,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/train.json", *words]
    sys.exit(subprocess.run(command, cwd=BUNDLE).returncode)


def _corpus(cases: Sequence[Case], fit: Fit, pairs: int, output: Path) -> Corpus:
    """Phantoms and variations of real images, as many pairs of these as of those, at least, and of every task."""
    images = read_real_images(cases, fit)
    drawn = build_corpus(output / "corpus", pairs, REAL_TRAINING, REAL_PARTNERS, workers=1)
    return joined(drawn, real_corpus(images, max(1, 2 * pairs // len(images))))


def _clip_on_masks(cases: Sequence[Case], pairs: int, output: Path, device: str, steps: int) -> None:
    """Go on with the demo CLIP as it was trained, on phantoms and real images."""
    set_up()
    start, corpus = Path(resolve(load_preset("demo").clip)), _corpus(cases, "squash", pairs, output)
    shutil.copytree(start, output / "clip", dirs_exist_ok=True)
    schedule = ClipSchedule(steps=steps, peak=7e-4, grounding=2.0, groups=True)
    ClipTrainer(corpus, output / "clip", schedule, resolve_device(device), start).run()


def _train_sam(cases: Sequence[Case], pairs: int, output: Path, device: str, steps: int) -> None:
    """Go on with the demo SAM."""
    set_up()
    start, corpus = Path(resolve(load_preset("demo").sam)), _corpus(cases, "letterbox", pairs, output)
    train_sam(corpus, output / "sam", resolve_device(device), steps=steps, peak=5e-4, start=start)


def _write_preset(output: Path) -> None:
    preset = {
        "extends": "demo",
        "description": "The demo networks, trained further on real images. Never for clinical use.",
        "clip": str(output / "clip"),
        "sam": str(output / "sam"),
    }
    write_json(preset, output / "preset.json")


def main(
    data: Annotated[Path, typer.Argument(help="Folder of segmentation.csv and, if wanted, image_text.csv.")],
    output: Annotated[Path, typer.Option(help="Folder for preset.json, clip/, sam/, train.csv and test.csv.")],
    clip_learns: Annotated[Lessons, typer.Option(help="Captions alone, or from the masks as well.")] = Lessons.captions,
    share: Annotated[float, typer.Option(help="Part of the images that is held out.")] = 0.5,
    phantoms: Annotated[int, typer.Option(help="Phantoms among captions, pairs of them beside masks.")] = 1_000,
    epochs: Annotated[int, typer.Option(help="Of CLIP on captions.")] = 6,
    batch: Annotated[int, typer.Option(help="Pairs in a batch of CLIP on captions.")] = 64,
    clip_steps: Annotated[int, typer.Option(help="Optimiser steps of CLIP on masks.")] = 5_000,
    sam_steps: Annotated[int, typer.Option(help="Optimiser steps of SAM.")] = 3_000,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Train both networks side by side, one core each."""
    set_up()
    started, output = time.perf_counter(), output.resolve()
    try:
        train, test = write_halves(data, output, share)
        check_shown(train)
        if clip_learns is Lessons.masks:
            check_words(train)
            clip: Job = (_clip_on_masks, (train, phantoms, output, device, clip_steps))
        else:
            clip = (_clip_on_captions, (output, device, epochs, batch, write_captions(data, train, phantoms, output)))
    except InputError as error:
        typer.echo(f"small_real: {error}", err=True)
        raise typer.Exit(2) from error
    _log.info("%d images to learn from, %d held out", len(train), len(test))
    build_corpus(output / "corpus", phantoms, REAL_TRAINING, REAL_PARTNERS)
    jobs: dict[str, Job] = {"clip": clip, "sam": (_train_sam, (train, phantoms, output, device, sam_steps))}
    minutes = {**run_side_by_side(jobs), "all": round((time.perf_counter() - started) / 60, 1)}
    _write_preset(output)
    record = {"minutes": minutes, "clip_learns": clip_learns.value, "train": len(train), "test": len(test)}
    write_text(output / "training.json", json.dumps(record) + "\n")
    _log.info("done in %.1f minutes: %s", minutes["all"], output / "preset.json")


if __name__ == "__main__":
    typer.run(main)
