"""How many pictures a second `medclipsam segment` does, beside what its networks do by themselves on the same cores.

    python -m tools.benchmarks.throughput.run                             # 500 pictures, preset small
    python -m tools.benchmarks.throughput.run --count 60 --archive        # fewer, and `medclipsam archive`

In each round the same pictures go every way, the ways one after the other and another one first each time, so that
what else the machine does meets all of them alike. "Networks" is the whole way from a picture that was read to its mask
in memory. "One at a time" is how a folder was segmented before: read, segment, write in turn, pictures packed as
Pillow does. Of `archive` the first fifth is left out: Ray's processes start with it. Core-seconds are those of all
processors together, which other work on the machine disturbs less than the seconds.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated
from unittest import mock

import numpy as np
import torch
import typer
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import writers
from medclipsam_monai.io.inputs.discovery import find_inputs
from medclipsam_monai.presets import load_preset
from medclipsam_monai.zero_shot.batch import segment_files
from medclipsam_monai.zero_shot.many.stages import Stages, one_by_one
from medclipsam_monai.zero_shot.one_image.reading import show_image
from medclipsam_monai.zero_shot.one_image.steps import ImageSteps
from medclipsam_monai.zero_shot.one_image.together import answer_images
from medclipsam_monai.zero_shot.output_files import OutputFiles
from medclipsam_monai.zero_shot.text_segmenter import TextSegmenter
from tools.benchmarks.throughput.pictures import TEXT, draw_pictures

_ROUNDS = 5
_WARM = 0.2  # share of an archive's pictures before all its processes are at work


@dataclass
class Spent:
    """Seconds, and seconds of all processors together where they are known."""

    wall: float = 0.0
    cores: float | None = 0.0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """A block whose time counts."""
        wall, cores = time.perf_counter(), time.process_time()
        yield
        self.wall += time.perf_counter() - wall
        self.cores = (self.cores or 0.0) + time.process_time() - cores


Way = Callable[[list[Path], Path, Spent], None]
"""Segments pictures into a folder, and counts the time."""


@dataclass
class Ways:
    """The ways that pictures go.

    Attributes:
        segmenter: loaded networks.
        batch: pictures that go through the networks together, where they do.
        spent: by way.
    """

    segmenter: TextSegmenter
    batch: int
    spent: dict[str, Spent] = field(default_factory=lambda: defaultdict(Spent))

    def all(self) -> dict[str, Way]:
        """By name; the first is what the others are compared with."""
        return {
            "networks, one at a time": lambda files, _, spent: self._networks(files, spent, 1),
            f"networks, {self.batch} together": lambda files, _, spent: self._networks(files, spent, self.batch),
            "segment as it was, one at a time": self._before,
            "segment": lambda files, folder, spent: self._segment(files, folder, spent, 1),
            f"segment --batch {self.batch}": lambda files, folder, spent: self._segment(
                files, folder, spent, self.batch
            ),
        }

    def round(self, files: list[Path], first: int) -> None:
        """Let the pictures go every way, beginning with the one of a number."""
        ways = list(self.all().items())
        for name, way in (*ways[first % len(ways) :], *ways[: first % len(ways)]):
            with tempfile.TemporaryDirectory(prefix="medclipsam-") as folder:
                way(files, Path(folder), self.spent[name])

    def _networks(self, files: list[Path], spent: Spent, batch: int) -> None:
        request = self.segmenter.request(TEXT)
        for start in range(0, len(files), batch):
            shown = [show_image(path) for path in files[start : start + batch]]
            with spent.counted():
                answers = answer_images(self.segmenter, shown, [one.name for one in shown], request)
            check(len(answers), sum(one.found is not None for one in answers))

    def _before(self, files: list[Path], folder: Path, spent: Spent) -> None:
        outputs = OutputFiles()
        steps = ImageSteps(self.segmenter.request(TEXT, **outputs.values), outputs)
        stages = Stages(self.segmenter, steps, folder)
        with spent.counted(), mock.patch.object(writers, "save_picture", _by_pillow):
            jobs = [one_by_one(stages, source) for source in find_inputs(files)]
        check(len(files), sum(job.state == "done" for job in jobs))

    def _segment(self, files: list[Path], folder: Path, spent: Spent, batch: int) -> None:
        with spent.counted():
            summary = segment_files(self.segmenter, files, TEXT, folder, batch=batch)
        check(len(files), len(summary.done))


def _by_pillow(picture: np.ndarray, path: Path) -> None:
    Image.fromarray(picture).save(path)


def check(expected: int, done: int) -> None:
    """Refuse a time in which not all was done.

    Raises:
        RuntimeError: some pictures were not.
    """
    if done != expected:
        raise RuntimeError(f"{done} of {expected} pictures were segmented: the time says nothing")


def time_archive(pictures: Path, preset: str, workers: int, batch: int) -> float:
    """Seconds a picture of `medclipsam archive`, whose workers share out the threads, from where all are at work."""
    from medclipsam_monai.archive.cluster import require_ray

    require_ray(alone=True)
    from medclipsam_monai.archive.pipeline import Plan
    from medclipsam_monai.archive.run import Loader, Wish, archive_images
    from medclipsam_monai.archive.sources import list_images
    from medclipsam_monai.archive.stores.folder import FolderStore

    times: list[float] = []

    def notify(kind: str, line: str) -> None:
        if kind == "done":
            times.append(time.perf_counter())

    threads = max(1, torch.get_num_threads() // workers)
    plan = Plan(workers=workers, threads=threads, readers=1, batch=batch, gpus=False)
    listed = list_images(str(pictures))
    with tempfile.TemporaryDirectory(prefix="medclipsam-") as folder:
        archive_images(listed, Loader(load_preset(preset)), Wish(TEXT), FolderStore(Path(folder)), plan, notify=notify)
    check(len(listed.items), len(times))
    first = round(_WARM * len(times))
    return (times[-1] - times[first]) / (len(times) - 1 - first)


def table(spent: dict[str, Spent]) -> str:
    """Times of a picture by way, the networks' first and the former way third, as lines of Markdown."""
    networks, _, before, *_ = spent.values()
    lines = [
        "| way | s a picture | pictures/s | core-seconds a picture | to the networks | to segment as it was |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in spent.items():
        cores = "" if one.cores is None else f"{one.cores:.4f}"
        ratios = f"{networks.wall / one.wall:.2f} | {before.wall / one.wall:.2f}"
        lines.append(f"| {name} | {one.wall:.4f} | {1 / one.wall:.1f} | {cores} | {ratios} |")
    return "\n".join(lines)


def main(
    count: Annotated[int, typer.Option(min=_ROUNDS, max=10_000, help="Pictures in all.")] = 500,
    preset: Annotated[str, typer.Option(help="Whose networks and parameters.")] = "small",
    batch: Annotated[int, typer.Option(min=2, help="Pictures that go through the networks together.")] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    archive: Annotated[bool, typer.Option("--archive", help="Measure `medclipsam archive`, too.")] = False,
) -> None:
    """Print a table."""
    if archive and find_spec("ray") is None:
        typer.echo("throughput: --archive needs Ray: pip install 'medclipsam-monai[archive]'", err=True)
        raise typer.Exit(2)
    try:
        ways = Ways(TextSegmenter.from_preset(preset, device), batch)
    except InputError as error:
        typer.echo(f"throughput: {error}", err=True)
        raise typer.Exit(2) from error
    with tempfile.TemporaryDirectory(prefix="medclipsam-") as folder:
        files = draw_pictures(Path(folder) / "pictures", count)
        ways.round(files[:4], 0)
        ways.spent.clear()
        for number in range(_ROUNDS):
            ways.round(files[number * count // _ROUNDS : (number + 1) * count // _ROUNDS], number)
        spent = {name: Spent(one.wall / count, (one.cores or 0.0) / count) for name, one in ways.spent.items()}
        spent = {name: spent[name] for name in ways.all()}
        if archive:
            for workers, together in ((1, 1), (1, batch), (torch.get_num_threads(), 1)):
                seconds = time_archive(files[0].parent, preset, workers, together)
                spent[f"archive --workers {workers} --batch {together}"] = Spent(seconds, None)
    typer.echo(f"{count} pictures, preset {preset}, {torch.get_num_threads()} threads\n\n{table(spent)}")


if __name__ == "__main__":
    typer.run(main)
