"""Phantoms as a folder of pictures with true masks: what the bundles train and test on as they are shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.phantoms import TARGETS, TASKS, make_phantom
from medclipsam_monai.phantoms.seeds import WEAK_SUPERVISION

_SEEDS_OF_A_SET = 10_000


def draw_phantom_folder(folder: str | Path, task: str, target: str, count: int, set_number: int = 0) -> Path:
    """Draw phantoms that show a target, as ``images/`` and, under the same names, ``labels/`` (0 or 1).

    Pictures that are there already are kept.

    Args:
        folder: where to.
        task: the kind of picture, such as "chest_xray".
        target: what the masks show, such as "heart".
        count: number of pictures.
        set_number: 0 to 99; another one draws other phantoms, and no two sets share one.

    Returns:
        The folder.

    Raises:
        InputError: an unknown task or target, a set that there is not, too many phantoms, or a picture that cannot be
            written.
    """
    if task not in TASKS or target not in TARGETS[task]:
        known = "; ".join(f"{name}: {', '.join(TARGETS[name])}" for name in TASKS)
        raise InputError(f"there are no phantoms of {task!r} with {target!r}; expected one of {known}")
    folder = Path(folder)
    sets = WEAK_SUPERVISION.count // _SEEDS_OF_A_SET
    if not 0 <= set_number < sets:
        raise InputError(f"phantoms come in sets 0 to {sets - 1}, got set {set_number}; give a smaller seed")
    drawn = 0
    for seed in WEAK_SUPERVISION.seeds(_SEEDS_OF_A_SET, set_number * _SEEDS_OF_A_SET):
        if drawn == count:
            return folder
        images = folder / "images" / f"{task}_{seed}.png", folder / "labels" / f"{task}_{seed}.png"
        if all(path.is_file() for path in images):
            drawn += 1
        else:
            phantom = make_phantom(task, seed, captions=0)
            if target in phantom.masks:
                _write((phantom.image * 255).round().astype(np.uint8), images[0])
                _write(phantom.masks[target].astype(np.uint8), images[1])
                drawn += 1
    raise InputError(f"a set has {drawn} phantoms of {task!r} with {target!r}, wanted {count}")


def _write(pixels: np.ndarray, path: Path) -> None:
    picture = Image.fromarray(pixels)
    write_atomically(path, lambda part: picture.save(part, format="PNG"))
