"""An archive of many small images with networks that find nothing at once: what all but the networks costs.

    python -m tools.benchmarks.archive.simulate                            # 500, then 5,000 images
    python -m tools.benchmarks.archive.simulate --counts 500,5000,100000

For each number of images a folder of them is made and `medclipsam archive` runs over it, its processes looked at twice
a second. A line each: processor seconds that finding the images took, seconds of the run, images a second, processor
seconds by kind of process, all and an image, memory at its peak by kind (shared memory counted once), files of the
table and bytes of the outputs. Needs Linux and the extra archive.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image

from medclipsam_monai.archive import run
from medclipsam_monai.archive.run import Loader
from medclipsam_monai.archive.sources import list_images
from medclipsam_monai.base.memory_cache import MemoryCache
from medclipsam_monai.cli.main import main as medclipsam
from medclipsam_monai.io.tables.parquet import TABLE_FOLDER
from medclipsam_monai.zero_shot.one_image.reading import ShownImage
from medclipsam_monai.zero_shot.result import ZeroShotResult
from medclipsam_monai.zero_shot.segmentation import Request, Segmentation
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter
from tools.benchmarks.archive.watched import Watched, watch
from tools.robustness.archive.bench import records

_SIDE = 32
_WARM = 0.1  # share of the images before all are at work
_LINKS = 10_000  # names that share a file


class EmptySegmenter(TextSegmenter):
    """Finds nothing in any picture, and takes no time for it."""

    def opened(self, shown: ShownImage, memory: MemoryCache[Any] | None = None) -> Any:
        """What answers for one picture."""
        return _Empty(shown)

    def answer_together(self, images: Sequence[ShownImage], request: Request) -> list[Segmentation]:
        """Nothing, for each."""
        return [_Empty(image).answer(request) for image in images]


@dataclass(frozen=True)
class _Empty:
    shown: ShownImage

    def answer(self, request: Request) -> Segmentation:
        shape = (len(request.targets), *self.shown.display.shape[-2:])
        nothing, none = torch.zeros(shape), (None,) * shape[0]
        found = ZeroShotResult(
            names=tuple(target.name for target in request.targets),
            probability=nothing,
            mask=nothing > 0,
            coarse=nothing > 0,
            saliency=nothing,
            boxes=(torch.zeros(0, 4),) * shape[0],
            presence=none,
            quality=none,
            object_score=none,
        )
        return self.shown.answered(found, request, 0.0)


@dataclass(frozen=True)
class EmptyLoader(Loader):
    """Loads networks, which only say what is asked, and looks at no picture with them."""

    def __call__(self, device: str) -> TextSegmenter:
        """Load them."""
        loaded = super().__call__(device)
        return EmptySegmenter(loaded.network, loaded.preset, loaded.weights)


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


def command(folder: Path, output: Path) -> list[str]:
    """The words of a run in a process of its own."""
    return [sys.executable, "-m", "tools.benchmarks.archive.simulate", "--child", str(folder), "--child", str(output)]


def archive(folder: Path, output: Path) -> None:
    """The child: ``medclipsam archive`` with the other networks."""
    run.Loader = EmptyLoader  # type: ignore[misc]
    words = ["-t", "lungs", "--preset", "demo", "--device", "cpu", "--threads", "1", "--no-overlay"]
    sys.argv = ["medclipsam", "archive", str(folder), "-o", str(output), *words]
    medclipsam()


def line(count: int, finding: float, seen: Watched, output: Path) -> str:
    """All figures of a run, as JSON."""
    files = [path.stat() for path in output.rglob("*") if path.is_file()]
    parts = [path.stat().st_size for path in (output / TABLE_FOLDER).glob("part-*.parquet")]
    each = seen.each(_WARM)
    figures = {
        "images": count,
        "finding_seconds": round(finding, 2),
        "run_seconds": round(seen.looks[-1].seconds, 1),
        "images_a_second": round(1 / each.pop("wall"), 1),
        "processor_seconds": {kind: round(value, 1) for kind, value in seen.looks[-1].processor.items()},
        "processor_ms_an_image": {kind: round(1000 * value, 2) for kind, value in each.items()},
        "peak_mb": {kind: round(value / 1e6) for kind, value in seen.peak.items()},
        "peak_mb_all": round(sum(seen.peak.values()) / 1e6),
        "table_files": len(parts),
        "table_bytes_an_image": round(sum(parts) / count),
        "output_files_an_image": round(len(files) / count, 2),
        "output_bytes_an_image": round(sum(one.st_size for one in files) / count),
        "output_disk_bytes_an_image": round(sum(512 * one.st_blocks for one in files) / count),
    }
    return json.dumps(figures)


def main(
    counts: Annotated[str, typer.Option(help="Numbers of images, with commas between them.")] = "500,5000",
    child: Annotated[list[Path] | None, typer.Option(hidden=True)] = None,
) -> None:
    """Simulate each, and print its line."""
    if child:
        archive(*child)
        return
    for count in map(int, counts.split(",")):
        with tempfile.TemporaryDirectory(prefix="m-") as name:
            folder, output = Path(name, "in"), Path(name, "out")
            write_images(folder, count)
            began = time.process_time()
            list_images(folder)
            finding = time.process_time() - began
            seen = watch(command(folder, output), partial(records, output))
            if seen.code:
                raise SystemExit(f"the run that is looked at failed: {seen.out.splitlines()[-1:]}")
            typer.echo(line(count, finding, seen, output))


if __name__ == "__main__":
    # its classes are to be found under the name that other processes know them by
    from tools.benchmarks.archive import simulate as module

    typer.run(module.main)
