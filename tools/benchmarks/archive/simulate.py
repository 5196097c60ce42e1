"""An archive of many small images with networks that find nothing at once: what all but the networks costs.

    python -m tools.benchmarks.archive.simulate                            # 500, then 5,000 images
    python -m tools.benchmarks.archive.simulate --counts 500,5000,100000
    python -m tools.benchmarks.archive.simulate --counts 5000 --networks   # those of the preset demo, for their memory

For each number of images a folder of them is made and `medclipsam archive` runs over it, its processes looked at twice
a second. A line each: processor seconds that finding the images took, seconds of the run, images a second, processor
seconds by kind of process, all and an image, memory by kind (shared memory counted once) at its peak, of how many
processes, when a tenth of the images is done and when all are, files of the table and bytes of the outputs. Needs Linux
and the extra archive.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from medclipsam_monai.archive.sources import list_images
from tools.benchmarks.archive.watched import Look, Watched, watch
from tools.robustness.archive.bench import records
from tools.robustness.archive.checks import table_files

_OPTIONS = ("--text", "lungs", "--preset", "demo", "--device", "cpu", "--threads", "1", "--no-overlay")
_SIDE = 32
_WARM = 0.1  # share of the images before all are at work
_LINKS = 10_000  # names that share a file


def write_images(folder: Path, count: int) -> None:
    """Small pictures of noise; many names for each file, as far as a file system goes."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number:08}.png"
        if number % _LINKS == 0:
            source = path
            Image.fromarray(rng.integers(0, 255, (_SIDE, _SIDE), np.uint8)).save(path)
        else:
            os.link(source, path)


def _mb(look: Look, kind: str) -> int:
    return round(look.memory.get(kind, 0) / 1e6)


def line(count: int, finding: float, seen: Watched, output: Path) -> str:
    """All figures of a run, as JSON."""
    files = [path.stat() for path in output.rglob("*") if path.is_file()]
    parts = [path.stat().st_size for path in table_files(output)]
    each, early, late = seen.each(_WARM), seen.at(_WARM), seen.at(1)
    figures = {
        "images": count,
        "finding_seconds": round(finding, 2),
        "run_seconds": round(seen.looks[-1].seconds, 1),
        "images_a_second": round(1 / each.pop("wall"), 1),
        "processor_seconds": {kind: round(value, 1) for kind, value in seen.looks[-1].processor.items()},
        "processor_ms_an_image": {kind: round(1000 * value, 2) for kind, value in each.items()},
        "peak_mb": {kind: _mb(seen.peak, kind) for kind in seen.peak.memory},
        "peak_mb_all": round(sum(seen.peak.memory.values()) / 1e6),
        "peak_processes": seen.peak.processes,
        "mb_from_a_tenth_to_the_end": {kind: [_mb(early, kind), _mb(late, kind)] for kind in late.memory},
        "table_files": len(parts),
        "table_bytes_an_image": round(sum(parts) / count),
        "output_files_an_image": round(len(files) / count, 2),
        "output_bytes_an_image": round(sum(one.st_size for one in files) / count),
        "output_disk_bytes_an_image": round(sum(512 * one.st_blocks for one in files) / count),
    }
    return json.dumps(figures)


def main(
    counts: Annotated[str, typer.Option(help="Numbers of images, with commas between them.")] = "500,5000",
    networks: Annotated[
        bool, typer.Option("--networks", help="Let the networks of `demo` look at the images.")
    ] = False,
) -> None:
    """Simulate each, and print its line."""
    for count in map(int, counts.split(",")):
        with tempfile.TemporaryDirectory(prefix="m-") as name:
            folder, output = Path(name, "in"), Path(name, "out")
            write_images(folder, count)
            began = time.process_time()
            list_images(folder)
            finding = time.process_time() - began
            command = ["medclipsam_monai", "archive"] if networks else ["tools.benchmarks.archive.without_networks"]
            words = [*command, str(folder), "--output", str(output), *_OPTIONS]
            seen = watch([sys.executable, "-m", *words], partial(records, output))
            if seen.code:
                raise SystemExit(f"the run that is looked at failed: {seen.out.splitlines()[-1:]}")
            typer.echo(line(count, finding, seen, output))


if __name__ == "__main__":
    typer.run(main)
