"""Draw the phantom pictures that come with the package (medclipsam_monai/resources/samples).

    python scripts/make_samples.py

Seeds from 3000000 on are used nowhere else: neither the demo weights' training nor their evaluation has seen them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from medclipsam_monai.data.phantoms import TASKS, Phantom, make_phantom
from medclipsam_monai.data.samples import sample_folder

FIRST_SEED = 3_000_000
LUNG_PICTURES = 6
# One picture of each modality that shows these targets, so that two texts can be asked of it.
SHOWN = {
    "brain_mri": {"brain tumour", "ventricles"},
    "breast_ultrasound": {"malignant tumour"},
    "chest_ct": {"lungs", "heart"},
    "chest_xray": {"lungs", "heart"},
}


def write(array: np.ndarray, path: Path) -> None:
    """Write an 8-bit picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, optimize=True)


def picture(phantom: Phantom) -> np.ndarray:
    """(H, W) uint8."""
    return (phantom.image * 255).round().astype(np.uint8)


def first_with(task: str, targets: set[str]) -> Phantom:
    """The first phantom of a task that shows all these targets."""
    candidates = (make_phantom(task, seed) for seed in range(FIRST_SEED, FIRST_SEED + 200))
    return next(phantom for phantom in candidates if targets <= phantom.findings.keys())


def main() -> None:
    """Write one picture a modality, and X-rays with lungs and their labels."""
    root = sample_folder().parent
    for task in TASKS:
        write(picture(first_with(task, SHOWN[task])), root / "modalities" / f"{task}.png")
    seed, written = FIRST_SEED, 0
    while written < LUNG_PICTURES:
        phantom = make_phantom("chest_xray", seed)
        if "lungs" in phantom.masks:
            name = f"xray_{written:02}.png"
            write(picture(phantom), sample_folder() / "images" / name)
            write(phantom.masks["lungs"].astype(np.uint8), sample_folder() / "labels" / name)
            written += 1
        seed += 1


if __name__ == "__main__":
    main()
