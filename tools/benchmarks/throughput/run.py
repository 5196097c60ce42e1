"""How many pictures a second `medclipsam segment` does, beside what its networks do by themselves on the same cores.

    python -m tools.benchmarks.throughput.run                             # 500 pictures, preset small
    python -m tools.benchmarks.throughput.run --count 60 --archive        # fewer, and `medclipsam archive`

In each round the same pictures go every way, the ways one after the other and another one first each time, so that
what else the machine does meets all of them alike. "Networks" is the whole way from a picture that was read to its mask
in memory. "One at a time" is how a folder was segmented before: read, segment, write in turn, pictures packed by zlib's
own level. Of `archive` the first picture is left out: Ray starts with it.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated
from unittest import mock

import torch
import typer

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
_ZLIBS_OWN = 6
Way = Callable[[list[Path], Path], float]
"""Segments pictures into a folder, and says how many seconds each took."""


@dataclass
class Ways:
    """The ways that pictures go.

    Attributes:
        segmenter: loaded networks.
        batch: pictures that go through the networks together, where they do.
        spent: seconds a picture by way, one for each round.
    """

    segmenter: TextSegmenter
    batch: int
    spent: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def all(self) -> dict[str, Way]:
        """By name; the first is what the others are compared with."""
        return {
            "networks, one at a time": lambda files, folder: self._networks(files, 1),
            f"networks, {self.batch} together": lambda files, folder: self._networks(files, self.batch),
            "segment as it was, one at a time": self._before,
            "segment": lambda files, folder: self._segment(files, folder, 1),
            f"segment --batch {self.batch}": lambda files, folder: self._segment(files, folder, self.batch),
        }

    def round(self, files: list[Path], first: int) -> None:
        """Let the pictures go every way, beginning with the one of a number."""
        ways = list(self.all().items())
        for name, way in (*ways[first % len(ways) :], *ways[: first % len(ways)]):
            with tempfile.TemporaryDirectory(prefix="medclipsam-") as folder:
                self.spent[name].append(way(files, Path(folder)))

    def _networks(self, files: Sequence[Path], batch: int) -> float:
        request, seconds = self.segmenter.request(TEXT), 0.0
        for start in range(0, len(files), batch):
            shown = [show_image(path) for path in files[start : start + batch]]
            began = time.perf_counter()
            answers = answer_images(self.segmenter, shown, [one.name for one in shown], request)
            seconds += time.perf_counter() - began
            check(len(answers), sum(one.found is not None for one in answers))
        return seconds / len(files)

    def _before(self, files: list[Path], folder: Path) -> float:
        outputs = OutputFiles()
        steps = ImageSteps(self.segmenter.request(TEXT, **outputs.values), outputs)
        stages = Stages(self.segmenter, steps, folder)
        began = time.perf_counter()
        with mock.patch.object(writers, "PICTURE_LEVEL", _ZLIBS_OWN):
            jobs = [one_by_one(stages, source) for source in find_inputs(files)]
        seconds = time.perf_counter() - began
        check(len(files), sum(job.state == "done" for job in jobs))
        return seconds / len(files)

    def _segment(self, files: list[Path], folder: Path, batch: int) -> float:
        began = time.perf_counter()
        summary = segment_files(self.segmenter, files, TEXT, folder, batch=batch)
        seconds = time.perf_counter() - began
        check(len(files), len(summary.done))
        return seconds / len(files)


def check(expected: int, done: int) -> None:
    """Refuse a time in which not all was done.

    Raises:
        RuntimeError: some pictures were not.
    """
    if done != expected:
        raise RuntimeError(f"{done} of {expected} pictures were segmented: the time says nothing")


def archive_seconds(pictures: Path, preset: str, batch: int) -> float:
    """Seconds a picture of `medclipsam archive`, from the first that is done to the last."""
    from medclipsam_monai.archive.cluster import require_ray

    require_ray(alone=True)
    from medclipsam_monai.archive.pipeline import Plan
    from medclipsam_monai.archive.run import Loader, Wish, archive_images
    from medclipsam_monai.archive.sources import list_images

    times: list[float] = []

    def notify(kind: str, line: str) -> None:
        if kind == "done":
            times.append(time.perf_counter())

    plan = Plan(workers=1, threads=torch.get_num_threads(), readers=1, batch=batch, gpus=False)
    listed = list_images(str(pictures))
    with tempfile.TemporaryDirectory(prefix="medclipsam-") as folder:
        archive_images(listed, Loader(load_preset(preset)), Wish(TEXT), folder, plan, notify=notify)
    check(len(listed.items), len(times))
    return (times[-1] - times[0]) / (len(times) - 1)


def table(spent: dict[str, float]) -> str:
    """Seconds a picture by way, the networks' first and the former way third, as lines of Markdown."""
    networks, _, before, *_ = spent.values()
    lines = [
        "| way | s a picture | pictures/s | to the networks | to segment as it was |",
        "|---|---|---|---|---|",
    ]
    for name, seconds in spent.items():
        ratios = f"{networks / seconds:.2f} | {before / seconds:.2f}"
        lines.append(f"| {name} | {seconds:.4f} | {1 / seconds:.1f} | {ratios} |")
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
        spent = {name: sum(ways.spent[name]) / _ROUNDS for name in ways.all()}
        if archive:
            for together in (1, batch):
                spent[f"archive --batch {together}"] = archive_seconds(files[0].parent, preset, together)
    typer.echo(f"{count} pictures, preset {preset}, {torch.get_num_threads()} threads\n\n{table(spent)}")


if __name__ == "__main__":
    typer.run(main)
