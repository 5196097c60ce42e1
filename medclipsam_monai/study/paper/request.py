"""What is asked of the papers' table: images of its tasks, and a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.prompts import LEVELS
from medclipsam_monai.study.cases import read_cases
from medclipsam_monai.study.paper.published import TASKS
from medclipsam_monai.study.phantom_table import PHANTOMS
from medclipsam_monai.study.request import StudyRequest
from medclipsam_monai.study.rivals.shots import Shots

AS_PUBLISHED = "published"
TEXTS = (*LEVELS, AS_PUBLISHED)
"""A level for all tasks, or for each the one that the published figure of the best zero-shot method was got with."""


@dataclass(frozen=True)
class PaperRequest:
    """The papers' table before it runs.

    Args:
        table: CSV with the columns task, image, mask and target, perhaps finding; or "phantoms". Of its tasks those of
            the papers are used.
        output: folder of rows.csv, report.md and scores.
        limit: images of each task at most, spread over the table; 0 for all, of phantoms for 20.
        tasks: some of the papers' tasks; all that the table has where empty.
        prompts: for tasks whose prompt set has another name, or is a file.
        text: one of `TEXTS`.
        shots: the examples for few-shot methods.
    """

    table: str
    output: Path
    limit: int = 0
    tasks: tuple[str, ...] = ()
    prompts: Mapping[str, str] = field(default_factory=dict)
    text: str = "P0"
    shots: Shots | None = None

    def check(self) -> None:
        """Refuse what can be seen to be wrong without opening an image.

        Raises:
            InputError: as of a study; no such text, a task that is none of the papers', or a table without one.
        """
        if self.text not in TEXTS:
            raise InputError(f"text must be one of {', '.join(TEXTS)} for the papers' table, got {self.text!r}")
        other = [task for task in self.tasks if task not in TASKS]
        if other:
            raise InputError(f"the papers' table has no task {other[0]!r}; expected some of {', '.join(TASKS)}")
        images = self.images()
        images.check()
        if self.shots is not None:
            self.shots.check(*images.listed())

    def images(self) -> StudyRequest:
        """The images of the papers' tasks, as a study takes them.

        Raises:
            InputError: the table cannot be read, or has none.
        """
        there = TASKS if self.table == PHANTOMS else {case.task for case in read_cases(self.table, 1)}
        tasks = self.tasks or tuple(task for task in TASKS if task in there)
        if not tasks:
            raise InputError(f"{self.table} has no row of the papers' tasks; expected {', '.join(TASKS)}")
        return StudyRequest(self.table, self.output, limit=self.limit, tasks=tasks, prompts=self.prompts)
