"""Labelled examples for the methods that are shown some, of other patients than what a study measures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.study.cases import Case, read_cases
from medclipsam_monai.study.phantom_table import PHANTOMS, chosen_phantom_tasks, draw_phantom_table

if TYPE_CHECKING:
    from medclipsam_monai.io.examples import Examples

EXAMPLE_PHANTOMS = "example_phantoms"
"""Folder of those that are shown, below the output of a study."""
_SEED = 0
_PHANTOMS_FROM = 900_000
"""Of the seeds of a study's phantoms: those before are measured."""
_DRAWN_FOR_ONE = 4
"""Phantoms that are drawn for each example, as not all show the target."""


@dataclass(frozen=True)
class Shots:
    """Where examples come from, and how many are shown of each task.

    Args:
        source: a CSV as a study takes it; or a folder with a folder of examples for each task, called like it, as
            `find_examples` takes it (of one task alone also without that); or "phantoms".
        count: how many, from 1 to 16; they are drawn from all that show the target, always the same ones.
    """

    source: str
    count: int = 4

    def check(self, tasks: Collection[str], cases: Sequence[Case]) -> None:
        """Refuse what can be seen to be wrong without opening an image.

        Args:
            tasks: that are measured.
            cases: that are measured; none where phantoms are, which no example is.

        Raises:
            InputError: no examples of a task, or an image or patient that is also measured.
        """
        measured = {case.image.resolve() for case in cases}
        for task in tasks:
            if self.source == PHANTOMS:
                chosen_phantom_tasks([task])
                continue
            listed = self._listed(task)
            files = self._files(task, tasks) if listed is None else [case.image for case in listed]
            both = next((file for file in files if file.resolve() in measured), None)
            if both is not None:
                raise InputError(f"{both} is an example and is measured, too; examples must be of other patients")
            patients = {case.patient for case in cases if case.patient and case.task == task}
            seen = next((case for case in listed or () if case.patient in patients), None)
            if seen is not None:
                raise InputError(f"patient {seen.patient} of {self.source} is measured, too; leave one of them out")

    def draw(self, tasks: Collection[str], folder: Path) -> dict[str, Examples]:
        """The examples of each task.

        Args:
            tasks: which.
            folder: phantoms are drawn into it.

        Raises:
            InputError: no count from 1 to 16, a file that cannot be used, or too few that show the target.
        """
        from medclipsam_monai.io.examples import check_count  # here, as below: a table's mistakes are said before

        check_count(self.count, "--shots")
        if self.source == PHANTOMS:
            table = draw_phantom_table(folder, _DRAWN_FOR_ONE * self.count, tasks, _PHANTOMS_FROM)
            return {task: self._of_cases(task, read_cases(table, tasks=[task])) for task in tasks}
        found = {}
        for task in tasks:
            listed = self._listed(task)
            found[task] = self._of_folder(task, tasks) if listed is None else self._of_cases(task, listed)
        return found

    def _listed(self, task: str) -> list[Case] | None:
        """The rows of a task, None where the source is a folder."""
        return None if Path(self.source).expanduser().is_dir() else read_cases(self.source, tasks=[task])

    def _folder(self, task: str, tasks: Collection[str]) -> Path:
        base = Path(self.source).expanduser()
        return base if len(tasks) == 1 and not (base / task).is_dir() else base / task

    def _files(self, task: str, tasks: Collection[str]) -> list[Path]:
        from medclipsam_monai.io.examples import find_examples

        return [file for source, _ in find_examples(self._folder(task, tasks)) for file in source.files]

    def _of_folder(self, task: str, tasks: Collection[str]) -> Examples:
        from medclipsam_monai.io.examples import Examples, read_examples

        every = read_examples(self._folder(task, tasks)).pairs
        self._enough(len(every), task)
        chosen = [every[k] for k in self._order(len(every))[: self.count]]
        pictures, masks = zip(*chosen, strict=True)
        return Examples(pictures, masks)

    def _of_cases(self, task: str, cases: Sequence[Case]) -> Examples:
        from medclipsam_monai.io.examples import Examples

        chosen = []
        for k in self._order(len(cases)):
            picture, mask = cases[k].load()
            if mask.any():
                chosen.append((picture, mask))
            if len(chosen) == self.count:
                break
        self._enough(len(chosen), task)
        pictures, masks = zip(*chosen, strict=True)
        return Examples(pictures, masks)

    def _order(self, count: int) -> list[int]:
        return [int(k) for k in np.random.default_rng(_SEED).permutation(count)]

    def _enough(self, count: int, task: str) -> None:
        if count < self.count:
            raise InputError(
                f"{self.source} has {count} examples that show the target of the task {task!r}, --shots asks for "
                f"{self.count}"
            )
