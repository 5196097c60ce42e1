"""The images of a study: a table of images, masks and what to look for."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

COLUMNS = ("task", "image", "mask", "target")


@dataclass(frozen=True)
class Case:
    """One row: an image, and the mask of what is looked for in it.

    Attributes:
        task: its group; also the prompt set that speaks of it.
        image: file of a picture.
        mask: file of its mask, empty where the target is absent.
        target: the class in words.
        finding: which kind of it the image shows, for prompts that name the kind; may be empty.
        borrowed_from: another task that the image comes from, where it stands for one without the target; its mask
            is of something else, and is not read.
        listed_as: the image as its table lists it, with the way from the table; empty for its base name.
        patient: whom it shows; empty where the table does not say.
    """

    task: str
    image: Path
    mask: Path
    target: str
    finding: str = ""
    borrowed_from: str = ""
    listed_as: str = ""
    patient: str = ""

    @property
    def name(self) -> str:
        """What a study calls the image, one name an image of a task: as listed, and the task it is borrowed from."""
        name = self.listed_as or self.image.name
        return f"{name} (of {self.borrowed_from})" if self.borrowed_from else name

    def load(self) -> tuple[Tensor, Tensor]:
        """The display picture (3, H, W) in [0, 1], and the mask (H, W) bool.

        Raises:
            InputError: a file that cannot be read, a volume, or a mask of another size.
        """
        import torch  # here with what reads images: a table's mistakes are said before

        from medclipsam_monai.io import read_image
        from medclipsam_monai.io.label_maps import read_label_map
        from medclipsam_monai.transforms import DisplayRange

        stored = read_image(self.image)
        picture = torch.as_tensor(DisplayRange()(stored)).as_subclass(torch.Tensor)
        if picture.ndim != 3:
            raise InputError(f"{self.image}: is a volume; a study takes pictures, so give it as slices")
        if self.borrowed_from:
            return picture, torch.zeros(picture.shape[1:], dtype=torch.bool)
        mask = read_label_map(self.mask, stored.meta["geometry"], [self.target])
        return picture, torch.from_numpy(mask > 0)


def read_cases(table: str | Path, limit: int = 0, tasks: Collection[str] = ()) -> list[Case]:
    """The cases of a table, task by task.

    Args:
        table: CSV with the columns task, image, mask and target, perhaps finding and patient; paths from its folder.
        limit: cases of each task at most, spread evenly over the table; 0 for all.
        tasks: which tasks; all where empty.

    Raises:
        InputError: no such table, a column or file that is missing, a row that is there twice, or a task without one.
    """
    path = Path(table)
    if not path.is_file():
        raise InputError(f"no such table: {path}; expected a CSV with {', '.join(COLUMNS)}, or phantoms")
    groups: dict[str, list[Case]] = defaultdict(list)
    for row in _rows(path):
        files = path.parent / row["image"], path.parent / row["mask"]
        finding, patient = (row.get(column) or "" for column in ("finding", "patient"))
        case = Case(row["task"], *files, row["target"], finding, listed_as=row["image"], patient=patient)
        groups[row["task"]].append(case)
    groups = {task: _told_apart(rows, path) for task, rows in groups.items()}
    unknown = sorted(set(tasks) - groups.keys())
    if unknown or not groups:
        raise InputError(f"{path} has no row of the task {unknown[0]!r}" if unknown else f"{path} has no row")
    chosen = [case for task, rows in groups.items() if not tasks or task in tasks for case in spread(rows, limit)]
    gone = next((file for case in chosen for file in (case.image, case.mask) if not file.is_file()), None)
    if gone is not None:
        raise InputError(f"{path} names a file that is not there: {gone}")
    return chosen


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table, each with all its columns."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table: {error}") from error
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        raise InputError(f"{path} has no column {missing[0]!r}; expected {', '.join(COLUMNS)}")
    for number, row in enumerate(rows, start=1):
        if any(row[column] is None for column in COLUMNS):
            raise InputError(f"row {number} of {path} has fewer columns than its first line")
    return rows


def _told_apart(cases: list[Case], table: Path) -> list[Case]:
    """Cases of a task under names of their own: an image that has several masks is named with each."""
    counts = Counter(case.image for case in cases)

    def named(case: Case) -> Case:
        return replace(case, listed_as=f"{case.listed_as} ({case.target}, {case.mask.name})")

    cases = [named(case) if counts[case.image] > 1 else case for case in cases]
    twice = [name for name, count in Counter(case.name for case in cases).items() if count > 1]
    if twice:
        raise InputError(f"{table} has two rows of the task {cases[0].task!r} for {twice[0]}; keep one")
    return cases


def borrow_absent(cases: list[Case], lenders: Mapping[str, str]) -> list[Case]:
    """Images of other tasks as images without the target, for tasks that have none of their own.

    Args:
        cases: of all tasks.
        lenders: for a task another one, of which it is known that its images do not show the task's target.

    Raises:
        InputError: a task that has no case.
    """
    targets = {case.task: case.target for case in cases}
    check_lenders(lenders, targets)
    return [
        replace(case, task=task, target=targets[task], finding="", borrowed_from=lender)
        for task, lender in lenders.items()
        for case in cases
        if case.task == lender
    ]


def check_lenders(lenders: Mapping[str, str], tasks: Collection[str]) -> None:
    """Refuse to borrow from, or for, a task that has no image.

    Raises:
        InputError: with the tasks that have some.
    """
    unknown = sorted({*lenders, *lenders.values()} - set(tasks))
    if unknown:
        raise InputError(f"there is no image of the task {unknown[0]!r}; expected some of {', '.join(tasks)}")


def spread(rows: list[Case], limit: int) -> list[Case]:
    """At most ``limit`` rows, evenly over all; 0 for all."""
    if not 0 < limit < len(rows):
        return rows
    return [rows[k * len(rows) // limit] for k in range(limit)]


def write_picture_once(path: Path, pixels: np.ndarray) -> None:
    """Write a PNG file that is not there yet.

    Raises:
        InputError: it cannot be written.
    """
    if not path.is_file():
        write_atomically(path, lambda part: Image.fromarray(pixels).save(part, format="PNG"))
