"""Rebuild the demo weights from nothing: draw phantoms, train the small CLIP and the small SAM.

    python scripts/train_demo_models.py --output demo_weights          # both, under two hours on two cores
    python scripts/train_demo_models.py --output quick --minutes 10    # a quick look

The result has the form of medclipsam_monai/resources/demo: clip/ and sam/. Measure it with
scripts/evaluate_demo.py.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import platform
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer

from medclipsam_monai.training.clip import ClipSchedule, ClipTrainer
from medclipsam_monai.training.clip_files import train_tokenizer
from medclipsam_monai.training.corpus import build_corpus
from medclipsam_monai.training.sam import train_sam

_log = logging.getLogger("train_demo_models")


def _set_up(threads: int) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    for noisy in ("open_clip", "root", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    torch.set_num_threads(threads)


def _sam_process(corpus: Path, pairs: int, output: Path, minutes: float, seed: int) -> None:
    _set_up(1)
    train_sam(build_corpus(corpus, pairs, 0), output, steps=1_000_000, minutes=minutes, seed=seed)


def main(
    output: Annotated[Path, typer.Option(help="Folder for clip/, sam/ and training.json.")],
    seed: Annotated[int, typer.Option(help="Of weights, order, captions and prompts.")] = 0,
    minutes: Annotated[float, typer.Option(help="Time for training, after the phantoms are drawn.")] = 100.0,
    pairs: Annotated[int, typer.Option(help="Pairs of phantoms to draw.")] = 16_000,
    corpus: Annotated[Path | None, typer.Option(help="Keep or find the drawn phantoms here (200 kB each).")] = None,
    grounding: Annotated[float, typer.Option(help="Weight of the CLIP's term that uses masks; 0 = none.")] = 1.0,
) -> None:
    """Train both networks side by side, one core each."""
    _set_up(1)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = corpus or Path(scratch)
        drawn = build_corpus(folder, pairs, 0)
        _log.info("%d phantoms drawn in %.0f s", len(drawn), time.perf_counter() - started)
        beside = multiprocessing.get_context("spawn").Process(
            target=_sam_process, args=(folder, pairs, output / "sam", minutes, seed)
        )
        beside.start()
        train_tokenizer(output / "clip")
        schedule = ClipSchedule(steps=1_000_000, minutes=minutes, grounding=grounding, seed=seed)
        ClipTrainer(drawn, output / "clip", schedule).run()
        beside.join()
    if beside.exitcode:
        raise SystemExit(f"training the SAM failed with exit code {beside.exitcode}")
    record = {
        "seed": seed,
        "phantoms": 2 * pairs,
        "minutes": round((time.perf_counter() - started) / 60, 1),
        "clip": asdict(schedule),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    (output / "training.json").write_text(json.dumps(record, indent=4) + "\n", encoding="utf-8")
    _log.info("done in %.1f minutes", record["minutes"])


if __name__ == "__main__":
    typer.run(main)
