"""What a study is asked: images, what to vary, and where to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import check_writable
from medclipsam_monai.prompts import load_prompt_set
from medclipsam_monai.study.cases import Case, borrow_absent, check_lenders, read_cases
from medclipsam_monai.study.conditions import FEW_SHOT, UNIVERSEG, Plan
from medclipsam_monai.study.phantom_table import PHANTOMS, chosen_phantom_tasks, draw_phantom_table
from medclipsam_monai.study.rivals.shots import Shots
from medclipsam_monai.weights.registry import resolve

_PHANTOMS_OF_A_TASK = 20


@dataclass(frozen=True)
class StudyRequest:
    """A study before it runs.

    Args:
        table: CSV with the columns task, image, mask and target, perhaps finding; or "phantoms".
        output: folder of rows.csv, report.md and pictures.
        plan: what is varied.
        limit: images of each task at most, spread over the table; 0 for all, of phantoms for 20.
        tasks: which tasks; all where empty.
        absent: for a task another one, of which it is known that its images do not show the task's target.
        prompts: for tasks whose prompt set has another name, or is a file.
        choose_by: folder of a study of other images, whose best way a task is reported on these.
        shots: the examples that some rivals are shown.
    """

    table: str
    output: Path
    plan: Plan = field(default_factory=Plan)
    limit: int = 0
    tasks: tuple[str, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)
    choose_by: Path | None = None
    shots: Shots | None = None

    def check(self) -> None:
        """Refuse what can be seen to be wrong without opening an image.

        Raises:
            InputError: no such table, task, image, prompt set or study to choose by, or an output that cannot be
                written.
        """
        if self.choose_by and not list(self.choose_by.glob("parts/*/*.csv")):
            raise InputError(f"{self.choose_by} holds no study to choose by; run one there first, on other images")
        tasks, cases = self.listed()
        check_lenders(self.absent, tasks)
        for task in tasks:
            load_prompt_set(self.prompts.get(task, task))
        if self.plan.few_shot and self.shots is None:
            raise InputError(f"--rival {self.plan.few_shot[0]} is shown examples; give --examples FOLDER or TABLE")
        if self.shots is not None:
            if not self.plan.few_shot:
                raise InputError(f"--examples is for a --rival that is shown some: {', '.join(FEW_SHOT)}")
            self.shots.check(tasks, cases)
        if UNIVERSEG in self.plan.few_shot:
            resolve(UNIVERSEG)
        check_writable(self.output)

    def listed(self) -> tuple[list[str], list[Case]]:
        """The tasks, and the cases of the table; of phantoms, which are not drawn yet, the tasks alone.

        Raises:
            InputError: see `read_cases`, or there are no phantoms of a task.
        """
        if self.table == PHANTOMS:
            return chosen_phantom_tasks(self.tasks), []
        cases = read_cases(self.table, self.limit, self.tasks)
        return list(dict.fromkeys(case.task for case in cases)), cases

    def cases(self) -> list[Case]:
        """The cases of the table, and those that are borrowed; phantoms are drawn below the output folder.

        Raises:
            InputError: see `check`, or a phantom that cannot be written.
        """
        table = Path(self.table)
        if self.table == PHANTOMS:
            count = self.limit or _PHANTOMS_OF_A_TASK
            table = draw_phantom_table(self.output / "phantoms", count, self.tasks)
        cases = read_cases(table, self.limit, self.tasks)
        return [*cases, *borrow_absent(cases, self.absent)]
