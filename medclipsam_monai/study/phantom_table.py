"""Phantoms in place of a study's table of images."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_text
from medclipsam_monai.study.cases import COLUMNS, write_picture_once

if TYPE_CHECKING:
    from medclipsam_monai.phantoms import Phantom

PHANTOMS = "phantoms"
"""The word that stands for a table of them."""
PHANTOM_TASKS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "breast_ultrasound": ("breast_ultrasound", {"benign tumour": "benign", "malignant tumour": "malignant"}),
    "brain_mri": ("brain_mri", {"brain tumour": ""}),
    "lung_xray": ("chest_xray", {"lungs": ""}),
    "lung_ct": ("chest_ct", {"lungs": ""}),
    "heart_xray": ("chest_xray", {"heart": ""}),
    "liver_ct": ("chest_ct", {"liver": ""}),
}
"""For each task of a phantom study the kind of picture, and its targets with the finding that each is."""


def chosen_phantom_tasks(tasks: Collection[str] = ()) -> list[str]:
    """Those of some tasks that there are phantoms of; all where none is named.

    Raises:
        InputError: an unknown task.
    """
    unknown = sorted(set(tasks) - PHANTOM_TASKS.keys())
    if unknown:
        raise InputError(f"there are no phantoms of {unknown[0]!r}; expected one of {', '.join(PHANTOM_TASKS)}")
    return [task for task in PHANTOM_TASKS if not tasks or task in tasks]


def draw_phantom_table(folder: str | Path, count: int, tasks: Collection[str] = (), start: int = 0) -> Path:
    """Draw phantoms of each task, with the target and without as they come, and the table that lists them.

    Args:
        folder: for the pictures, masks and table.csv.
        count: phantoms of each task.
        tasks: some of `PHANTOM_TASKS`; all where empty.
        start: place of the first one's seed among those of studies.

    Raises:
        InputError: an unknown task, too many phantoms, or a file that cannot be written.
    """
    from medclipsam_monai.phantoms import make_phantom  # here, for it imports scipy
    from medclipsam_monai.phantoms.seeds import STUDY

    folder = Path(folder)
    lines = [",".join((*COLUMNS, "finding"))]
    for task in chosen_phantom_tasks(tasks):
        kind, findings = PHANTOM_TASKS[task]
        for seed in STUDY.seeds(count, start):
            phantom, name = make_phantom(kind, seed, captions=0), f"{task}_{seed}.png"
            write_picture_once(folder / "images" / name, (phantom.image * 255).round().astype(np.uint8))
            write_picture_once(folder / "masks" / name, _mask(phantom, findings).astype(np.uint8) * 255)
            shown = next((finding for target, finding in findings.items() if target in phantom.masks), "")
            lines.append(f"{task},images/{name},masks/{name},{next(iter(findings))},{shown}")
    return write_text(folder / "table.csv", "\n".join(lines) + "\n")


def _mask(phantom: Phantom, targets: Iterable[str]) -> np.ndarray:
    empty = np.zeros(phantom.image.shape, bool)
    return np.logical_or.reduce([phantom.masks.get(target, empty) for target in targets])
