"""How much memory `medclipsam segment` takes as a folder goes by: its peak after some pictures, and after many more.

python -m tools.benchmarks.throughput.memory                 # 5,000 pictures of 128 x 128, preset demo
python -m tools.benchmarks.throughput.memory --count 500
"""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from medclipsam_monai.zero_shot.batch import segment_files
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter
from tools.benchmarks.throughput.pictures import TEXT, draw_pictures

_SIDE = 128
_PARTS = 10


def peak_bytes() -> int:
    """The most memory that this process has taken so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(
    count: Annotated[int, typer.Option(min=_PARTS, max=10_000, help="Pictures.")] = 5000,
    preset: Annotated[str, typer.Option(help="Whose networks and parameters.")] = "demo",
    batch: Annotated[int, typer.Option(min=1, help="Pictures that go through the networks together.")] = 1,
) -> None:
    """Print the peak after each tenth of the pictures."""
    segmenter = TextSegmenter.from_preset(preset, "cpu")
    done = 0

    def notify(kind: str, line: str) -> None:
        nonlocal done
        done += kind == "done"
        if kind == "done" and done % (count // _PARTS) == 0:
            typer.echo(f"{done} pictures: {peak_bytes() / 1e6:.1f} MB")

    with tempfile.TemporaryDirectory(prefix="medclipsam-") as folder:
        files = draw_pictures(Path(folder) / "pictures", count, [(_SIDE, _SIDE)])
        segment_files(segmenter, files, TEXT, Path(folder) / "out", batch=batch, notify=notify)


if __name__ == "__main__":
    typer.run(main)
