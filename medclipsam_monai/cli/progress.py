"""A bar over many images: how many are done, how many a second, and the time left."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

Notify = Callable[[str, str], None]
_ENDS = ("done", "skipped", "failed")  # once for each image, see `segment_files`


@contextlib.contextmanager
def progress_of(images: int, notify: Notify) -> Iterator[Notify]:
    """What notifies of images, with a bar below its lines where there are several images and someone watches.

    Args:
        images: how many there are.
        notify: prints a line of a kind, see `segment_files`.
    """
    if images < 2 or not sys.stderr.isatty():
        yield notify
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    out = sys.stdout.isatty()  # lines that go to a file or a pipe stay what they are
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=out) as bar:
        task = bar.add_task("", total=images, rate="")

        def counting(kind: str, message: str) -> None:
            notify(kind, message)
            if kind in _ENDS:
                bar.advance(task)
                speed = bar.tasks[0].speed
                bar.update(task, rate="" if speed is None else f"{speed:.2g} images/s, left")

        yield counting
