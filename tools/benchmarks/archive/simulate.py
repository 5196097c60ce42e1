"""An archive of many small images with networks that find nothing at once: what all but the networks costs.

    python -m tools.benchmarks.archive.simulate                            # 500, then 5,000 images
    python -m tools.benchmarks.archive.simulate --counts 500,5000,100000

For each number of images a folder of them is made and `archive_images` runs over it, in processes of their own that are
looked at meanwhile. A line each: seconds that finding the images took, seconds until all were done, images a second,
processor seconds by kind of process, memory at its peak by kind (shared memory counted once), files of the table and
bytes of the outputs. Needs Linux and the extra archive.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image

from medclipsam_monai.base.memory_cache import MemoryCache
from medclipsam_monai.zero_shot.one_image.reading import ShownImage
from medclipsam_monai.zero_shot.result import ZeroShotResult
from medclipsam_monai.zero_shot.segmentation import Request, Segmentation
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter
from tools.benchmarks.archive.watched import Watched, watch

_SIDE = 32
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
class EmptyLoader:
    """Loads the demo weights, which only say what is asked, and looks at no picture."""

    def __call__(self, device: str) -> TextSegmenter:
        """Load them."""
        loaded = TextSegmenter.from_preset("demo", device)
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


def simulate(folder: Path, output: Path) -> dict[str, float]:
    """The child: one run over a folder; how many, and seconds of its parts."""
    from medclipsam_monai.archive.parts import FOLDER
    from medclipsam_monai.archive.pipeline import Plan
    from medclipsam_monai.archive.run import Wish, archive_images
    from medclipsam_monai.archive.sources import list_images
    from medclipsam_monai.zero_shot.output_files import OutputFiles

    began = time.perf_counter()
    listed = list_images(folder)
    found = time.perf_counter()
    ended: list[float] = []
    wish = Wish(["lungs"], files=OutputFiles(overlay=False))
    plan = Plan(workers=1, threads=1, readers=1, batch=1, gpus=False)
    loader: Any = EmptyLoader()
    summary = archive_images(
        listed, loader, wish, output, plan, notify=lambda kind, line: ended.append(time.perf_counter())
    )
    first, last = ended[len(ended) // 10], ended[-1]
    return {
        "images": len(summary.done),
        "listing_seconds": found - began,
        "run_seconds": time.perf_counter() - found,
        "images_a_second": 0.9 * len(ended) / (last - first),
        "table_files": len(list((output / FOLDER).glob("part-*.parquet"))),
    }


def line(told: dict[str, Any], seen: Watched, output: Path) -> str:
    """All figures of a run, as JSON."""
    files = [path.stat() for path in output.rglob("*") if path.is_file()]
    figures = {
        **{name: round(value, 2) for name, value in told.items()},
        "processor_seconds": {kind: round(value, 1) for kind, value in seen.processor.items()},
        "peak_mb": {kind: round(value / 1e6) for kind, value in seen.peak.items()},
        "peak_mb_all": round(seen.all_bytes / 1e6),
        "output_files": len(files),
        "output_bytes_an_image": round(sum(one.st_size for one in files) / told["images"]),
        "output_disk_bytes_an_image": round(sum(512 * one.st_blocks for one in files) / told["images"]),
    }
    return json.dumps(figures)


def main(
    counts: Annotated[str, typer.Option(help="Numbers of images, with commas between them.")] = "500,5000",
    child: Annotated[list[Path] | None, typer.Option(hidden=True)] = None,
) -> None:
    """Simulate each, and print its line."""
    if child:
        typer.echo(json.dumps(simulate(*child)))
        return
    for count in map(int, counts.split(",")):
        with tempfile.TemporaryDirectory(prefix="m-") as name:
            folder, output = Path(name, "in"), Path(name, "out")
            write_images(folder, count)
            words = ("--child", str(folder), "--child", str(output))
            seen = watch([sys.executable, "-m", "tools.benchmarks.archive.simulate", *words])
            if seen.code:
                raise SystemExit("the run that is looked at failed; see above")
            typer.echo(line(json.loads(seen.out.splitlines()[-1]), seen, output))


if __name__ == "__main__":
    # its classes are to be found under the name that other processes know them by
    from tools.benchmarks.archive import simulate as module

    typer.run(module.main)
