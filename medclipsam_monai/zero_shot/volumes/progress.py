"""How far the work on a volume is: a bar in a terminal, or whatever a window makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

Tell: TypeAlias = Callable[[str, int, int], None]
"""Is told what is done, and how many of how many steps are. What it raises ends the work: so a run is cancelled."""
Progress: TypeAlias = bool | Tell
"""True for a bar in the terminal, False for nothing, or whom to tell."""
Step = TypeVar("Step")


def shown(steps: Iterable[Step], doing: str, total: int, progress: Progress) -> Iterator[Step]:
    """The steps, one after the other, and how far they are.

    Args:
        steps: to go through.
        doing: what is done in them, such as "segmenting 40 slices".
        total: how many there are.
        progress: see `Progress`; it is told before the first step and after each.
    """
    if callable(progress):
        return _told(steps, doing, total, progress)
    if not progress:
        return iter(steps)
    from rich.progress import track

    return iter(track(steps, description=doing, total=total, transient=True))


def _told(steps: Iterable[Step], doing: str, total: int, tell: Tell) -> Iterator[Step]:
    tell(doing, 0, total)
    for done, step in enumerate(steps, start=1):
        yield step
        tell(doing, done, total)
