"""A small data set of phantoms in a work folder, by plain code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from medclipsam_monai.phantoms import make_phantom
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.schedule import CyclicSchedule
from medclipsam_monai.weak.nnunet.training import NnUNetTraining

TINY_CYCLES = CyclicSchedule(epochs=6, cycles=2, per_cycle=2, iterations=4, validation_iterations=1, seed=3)
CLASSES = ("lungs", "heart")


def write_raw(folders: WorkFolders, count: int = 8, step: int = 4, first_seed: int = 3_200_000) -> None:
    """A raw data set of chest X-ray phantoms, every ``step``-th pixel, with lungs and heart; the last two validate."""
    for folder in (folders.images, folders.labels, folders.preprocessed):
        folder.mkdir(parents=True)
    cases, seed = [], first_seed
    while len(cases) < count:
        phantom = make_phantom("chest_xray", seed)
        seed += 1
        if not set(CLASSES) <= set(phantom.masks):
            continue
        label = np.zeros(phantom.image.shape, np.uint8)
        for value, name in enumerate(CLASSES, start=1):
            label[phantom.masks[name]] = value
        case = f"case_{len(cases):04d}"
        picture = (255 * phantom.image[::step, ::step]).round().astype(np.uint8)
        Image.fromarray(picture).save(folders.images / f"{case}_0000.png")
        Image.fromarray(label[::step, ::step]).save(folders.labels / f"{case}.png")
        cases.append(case)
    labels = {"background": 0, **{name: value for value, name in enumerate(CLASSES, start=1)}}
    dataset = {"channel_names": {"0": "grey"}, "labels": labels, "numTraining": count, "file_ending": ".png"}
    folders.dataset_json.write_text(json.dumps(dataset))
    folders.splits_json.write_text(json.dumps([{"train": cases[:-2], "val": cases[-2:]}]))
    entries = [
        {"case": case, "source": f"{case}.png", "stem": case, "patient": case, "label": "given", "split": split}
        for case, split in zip(cases, ["train"] * (count - 2) + ["validation"] * 2, strict=True)
    ]
    folders.cases_json.write_text(json.dumps(entries))


def leave_half_made(folders: WorkFolders) -> None:
    """What an earlier run may have left when it was killed, and a file of the user's."""
    (folders.preprocessed / "nnUNetPlans_2d").mkdir()
    (folders.preprocessed / "nnUNetPlans_2d" / "case_of_another_set.b2nd").write_bytes(b"cut")
    (folders.preprocessed / "nnUNetPlans.json").write_text('{"configurations": {"2d": ')
    (folders.preprocessed / "dataset_fingerprint.json").write_text("{}")
    (folders.preprocessed / "notes.txt").write_text("mine")


def train_copy(work: WorkFolders, root: Path) -> WorkFolders:
    """Train in a copy of a planned work folder."""
    shutil.copytree(work.root, root, dirs_exist_ok=True)
    folders = WorkFolders(root)
    NnUNetTraining(folders, device="cpu", progress=False).run()
    return folders
