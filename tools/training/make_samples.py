"""Draw the phantom pictures that come with the package (medclipsam_monai/resources/samples).

python -m tools.training.make_samples
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from medclipsam_monai.phantoms import TARGETS, Phantom, make_phantom
from medclipsam_monai.phantoms.samples import sample_folder
from medclipsam_monai.phantoms.seeds import SAMPLES

LUNG_PICTURES = 6
# Name of a picture, its modality, and the targets it shows; a target of the modality that is not named is absent.
PICTURES = {
    "brain_tumour": ("brain_mri", {"brain tumour", "ventricles"}),
    "brain_normal": ("brain_mri", {"ventricles"}),
    "breast_malignant": ("breast_ultrasound", {"malignant tumour"}),
    "breast_cyst": ("breast_ultrasound", {"cyst"}),
    "ct_chest": ("chest_ct", {"lungs", "heart"}),
    "ct_abdomen": ("chest_ct", {"liver", "kidneys"}),
    "xray_normal": ("chest_xray", {"lungs", "heart"}),
    "xray_pacemaker": ("chest_xray", {"lungs", "heart", "pacemaker"}),
}


def write(array: np.ndarray, path: Path) -> None:
    """Write an 8-bit picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, optimize=True)


def picture(phantom: Phantom) -> np.ndarray:
    """(H, W) uint8."""
    return (phantom.image * 255).round().astype(np.uint8)


def first_that_shows(task: str, targets: set[str]) -> Phantom:
    """The first phantom of a task that shows just these targets."""
    unknown = targets - set(TARGETS[task])
    if unknown:
        raise ValueError(f"{task} has no target {min(unknown)}; expected {', '.join(TARGETS[task])}")
    candidates = (make_phantom(task, seed) for seed in SAMPLES.seeds(400))
    return next(phantom for phantom in candidates if targets == phantom.findings.keys())


def main() -> None:
    """Write the pictures, and X-rays with lungs and their labels."""
    for name, (task, targets) in PICTURES.items():
        write(picture(first_that_shows(task, targets)), sample_folder().parent / "pictures" / f"{name}.png")
    candidates = (make_phantom("chest_xray", seed) for seed in SAMPLES.seeds(400, start=1000))
    shown = (phantom for phantom in candidates if "lungs" in phantom.masks)
    for number, phantom in enumerate(islice(shown, LUNG_PICTURES)):
        name = f"xray_{number:02}.png"
        write(picture(phantom), sample_folder() / "images" / name)
        write(phantom.masks["lungs"].astype(np.uint8), sample_folder() / "labels" / name)


if __name__ == "__main__":
    main()
