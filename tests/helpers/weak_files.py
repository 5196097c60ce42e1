"""Images with masks and records as the zero-shot stage leaves them, without its networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from PIL import Image

from medclipsam_monai.io import write_mask
from medclipsam_monai.weak.nnunet.case_image import read_case_image
from medclipsam_monai.weak.pseudo.labels import PseudoLabel


def entry(name: str = "lungs", **figures: Any) -> dict[str, Any]:
    """A class of a record that passes every gate but for the figures given."""
    usual = {"presence": None, "quality": 0.9, "agreement": 0.8, "fraction": 0.2}
    return {"name": name, **usual, **figures}


def record(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"input": "a.png", "classes": list(entries or (entry(),))}


def picture(path: Path, shape: tuple[int, ...] = (12, 20), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


def volume(path: Path, shape: tuple[int, ...] = (16, 12, 10), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(-1000, 1000, shape).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([1.5, 2.0, 3.0, 1.0])), path)
    return path


def pseudo_label(source: Path, folder: Path, classes: int = 1) -> PseudoLabel:
    """A mask whose rows are in turn background and each class; 0 classes for an empty one."""
    image = read_case_image(source)
    shape = image.geometry.display_shape
    rows = np.arange(shape[0]) % (classes + 1)
    labels = np.broadcast_to(rows.reshape(-1, *[1] * (len(shape) - 1)), shape).astype(np.uint8)
    stem = image.source.stem
    mask = write_mask(labels, image.geometry, folder / f"{stem}_mask")
    return PseudoLabel(stem, source, mask, record())


def change_plan(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Path:
    """An exported ensemble's file with what is said beside its weights changed."""
    content = torch.load(path, weights_only=True)
    head = change(json.loads(bytes(content["plan"].numpy())))
    content["plan"] = torch.frombuffer(bytearray(json.dumps(head).encode()), dtype=torch.uint8)
    torch.save(content, path)
    return path
