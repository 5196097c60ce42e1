"""Files that the command line's tests share."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image


def make_picture(path: Path, height: int = 40, width: int = 60, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def make_nifti(path: Path, shape: tuple[int, ...]) -> Path:
    affine = np.diag([1.5, 2.0, 3.0, 1.0])
    nib.save(nib.Nifti1Image(np.random.default_rng(1).normal(size=shape).astype(np.float32), affine), path)
    return path


def outputs(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*")} if folder.exists() else set()
