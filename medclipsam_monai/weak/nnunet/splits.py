"""Training and validation cases, split by patient so that no patient is on both sides."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePath

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io.inputs.stems import file_stem


def patients_of(stems: Sequence[str], patient: str | Path | None = None) -> list[str]:
    """Whose images these are.

    Args:
        stems: the images' stems.
        patient: a regular expression that finds the patient in a stem by its one group, such as ``(p\\d+)_``; a CSV
            file whose first column names images, with or without suffix, and that has a column ``patient``; None: each
            image is of a patient of its own.

    Returns:
        A patient for each stem.

    Raises:
        InputError: an image without a patient, an expression or a table that is none.
    """
    if patient is None:
        return list(stems)
    if str(patient).lower().endswith(".csv"):
        table = _read_table(Path(patient).expanduser())
        missing = [stem for stem in stems if stem not in table]
        if missing:
            raise InputError(f"{patient}: has no row for {missing[0]} ({len(missing)} of {len(stems)} images missing)")
        unclear = next((stem for stem in stems if len(table[stem]) > 1), None)
        if unclear is not None:
            raise InputError(
                f"{patient}: gives {unclear} the patients {' and '.join(sorted(table[unclear]))}; name the images with "
                "their folders, and give the images' common folder"
            )
        return [next(iter(table[stem])) for stem in stems]
    try:
        expression = re.compile(str(patient))
    except re.error as error:
        raise InputError(f"patient {patient!r} is no regular expression: {error}") from error
    if expression.groups != 1:
        raise InputError(f"patient {patient!r} must have one group, such as '(p\\d+)_', got {expression.groups}")
    return [_search(expression, stem) for stem in stems]


def _search(expression: re.Pattern[str], stem: str) -> str:
    found = expression.search(stem)
    if found is None or not found.group(1):
        raise InputError(f"patient {expression.pattern!r} finds no patient in {stem!r}; it must fit every image's name")
    return found.group(1)


def _read_table(path: Path) -> dict[str, set[str]]:
    """The patients by an image's stem: of its file, and with the folders that lead to it in front."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table of patients: {error}") from error
    columns = list(rows[0]) if rows else []
    if "patient" not in columns[1:]:
        raise InputError(f"{path}: must have a first column of images and a column 'patient', got {', '.join(columns)}")
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        image = PurePath(row[columns[0]])
        stem = file_stem(image)
        for name in {stem, "_".join((*image.parent.parts, stem))}:
            found[name].add(row["patient"])
    return found


def split_by_patient(patients: Sequence[str], validation: float, seed: int = 0) -> list[bool]:
    """Which cases validate.

    Patients are put in an order that depends on their names and the seed alone, so one who is added or dropped hardly
    moves the others. The first of them validate, as many as come nearest to the fraction of cases that is asked for,
    at least one and never all.

    Args:
        patients: a patient for each case.
        validation: fraction of the cases, in [0, 1); 0 for none.
        seed: another one gives another order.

    Returns:
        For each case whether it validates.

    Raises:
        InputError: a fraction outside [0, 1), or fewer than two patients to split.
    """
    if not 0 <= validation < 1:
        raise InputError(f"validation must be a fraction of the cases in [0, 1), got {validation}")
    if validation == 0:
        return [False] * len(patients)
    cases = Counter(patients)
    if len(cases) < 2:
        raise InputError(
            f"a split needs at least 2 patients, got {len(cases)} ({', '.join(cases)}, {len(patients)} images); "
            "add images of others, or set validation to 0 to validate on the training images"
        )
    order = sorted(cases, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).hexdigest())
    goal, held, best = validation * len(patients), 0, (float("inf"), 0)
    for count, name in enumerate(order[:-1], start=1):
        held += cases[name]
        best = min(best, (abs(held - goal), count))
    chosen = set(order[: best[1]])
    return [name in chosen for name in patients]
