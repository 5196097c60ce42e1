"""How long a volume takes beside what its two networks take by themselves, by slices a batch and by slices in all.

    python -m tools.benchmarks.volume_time                                   # 512 x 512, preset small
    python -m tools.benchmarks.volume_time --side 256 --depths 20,40 --batches 1,4

A phantom CT of chest and abdomen is read from its file and segmented by one text that a part of the slices show; the
time within the networks is taken in the same run, of all threads together: M2IB and the vectors of all slices, SAM's
two halves of those in which the text is looked for. The ratio is what all else costs, as far as it is not done beside
them. A warm-up of eight slices comes first.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import typer

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.phantoms.seeds import VOLUMES
from medclipsam_monai.phantoms.volumes import make_phantom_volume, save_phantom_volume
from medclipsam_monai.prompts import parse_targets
from medclipsam_monai.zero_shot.encoded import EncodedImages
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter
from medclipsam_monai.zero_shot.volumes.segment import segment_volume, slice_distance

_TASK = "chest_abdomen_ct"


class Clock(threading.local):
    """Seconds spent in some functions by all threads together; one that another calls is not counted again."""

    def __init__(self, spent: list[float]) -> None:
        self._spent, self._inside = spent, False

    def timed(self, function: Any) -> Any:
        """The function, on the clock."""

        def call(*arguments: Any, **options: Any) -> Any:
            if self._inside:
                return function(*arguments, **options)
            self._inside, started = True, time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self._spent.append(time.perf_counter() - started)
                self._inside = False

        return call


@dataclass(frozen=True)
class Times:
    """Of one run: slices, those of them that were found to show the text, and seconds in all and in the networks."""

    slices: int
    shown: int
    wall: float
    networks: float


@contextmanager
def networks_timed(segmenter: TextSegmenter) -> Iterator[list[float]]:
    """The seconds of every call of both networks of a segmenter."""
    spent: list[float] = []
    clock = Clock(spent)
    with ExitStack() as stack:
        for name in ("grids", "vectors", "summaries", "embeddings"):
            stack.enter_context(mock.patch.object(EncodedImages, name, clock.timed(getattr(EncodedImages, name))))
        sam = segmenter.network.segmenter
        stack.enter_context(mock.patch.object(sam, "decode", clock.timed(sam.decode)))
        yield spent


def measure(segmenter: TextSegmenter, volume: Path, text: str, batch: int) -> Times:
    """Read and segment a volume once, so many slices at a time."""
    network = segmenter.network
    with networks_timed(segmenter) as spent:
        started = time.perf_counter()
        opened = segmenter.open(volume)
        texts = network.encode_texts(parse_targets(text))
        mask = segment_volume(network, opened.display, texts, slice_distance(opened.spacing), batch).mask[0]
        wall = time.perf_counter() - started
    return Times(mask.shape[-1], int(mask.any(dim=0).any(dim=0).sum()), wall, sum(spent))


def numbers(text: str, option: str) -> list[int]:
    """ "1,2,4" as numbers.

    Raises:
        InputError: not positive whole numbers.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"{option} must be positive whole numbers with commas between them, got {text!r}")
    return [int(part) for part in parts]


def table(rows: list[tuple[int, Times]]) -> str:
    """Batches and times, a row a run."""
    lines = [
        "| slices | that show it | a batch | seconds | of them in the networks | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for batch, of in rows:
        cells = (of.slices, of.shown, batch, f"{of.wall:.1f}", f"{of.networks:.1f}", f"{of.wall / of.networks:.3f}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main(
    preset: Annotated[str, typer.Option(help="Whose networks and parameters.")] = "small",
    text: Annotated[str, typer.Option(help="What to look for.")] = "liver",
    side: Annotated[int, typer.Option(min=32, help="Rows and columns.")] = 512,
    depths: Annotated[str, typer.Option(help="Slices; the first for all batches, the others for the last one.")] = (
        "30,60,120"
    ),
    batches: Annotated[str, typer.Option(help="Slices that go through the networks together.")] = "1,2,8,16,4",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Print a table."""
    try:
        many, deep = numbers(batches, "--batches"), numbers(depths, "--depths")
        segmenter = TextSegmenter.from_preset(preset, device)
    except InputError as error:
        typer.echo(f"volume_time: {error}", err=True)
        raise typer.Exit(2) from error
    (seed,) = VOLUMES.seeds(1)
    rows = []
    with tempfile.TemporaryDirectory(prefix="medclipsam-") as folder:
        for number, depth in enumerate([8, *deep]):
            volume = make_phantom_volume(_TASK, seed, (side, side, depth))
            path, _, _ = save_phantom_volume(volume, Path(folder) / str(depth))
            chosen = many[-1:] if number != 1 else many
            found = [(batch, measure(segmenter, path, text, batch)) for batch in chosen]
            rows += found if number else []
    typer.echo(table(rows))


if __name__ == "__main__":
    typer.run(main)
