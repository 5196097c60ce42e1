"""One small data set of phantoms, planned and trained once for all tests of weak supervision."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medclipsam_monai.data.phantoms import make_phantom
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.planning import CyclicPlan, plan

TINY_CYCLES = CyclicPlan(epochs=4, cycles=2, per_cycle=2, iterations=2, validation_iterations=1, seed=3)
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


@pytest.fixture(scope="session")
def tiny_work(tmp_path_factory: pytest.TempPathFactory) -> WorkFolders:
    """A work folder of 8 phantoms of 64 x 64, planned and preprocessed for the smallest network; do not change it."""
    folders = WorkFolders(tmp_path_factory.mktemp("work"))
    write_raw(folders)
    plan(folders, TINY_CYCLES, size="tiny")
    return folders


@pytest.fixture(scope="session")
def trained_work(tiny_work: WorkFolders, tmp_path_factory: pytest.TempPathFactory) -> WorkFolders:
    """The same after a training of 2 cycles of 2 epochs, every one of which is a member; do not change it."""
    return train_copy(tiny_work, tmp_path_factory.mktemp("trained"))


def train_copy(work: WorkFolders, root: Path) -> WorkFolders:
    """Train in a copy of a planned work folder."""
    import shutil

    from medclipsam_monai.weak.training import NnUNetTraining

    shutil.copytree(work.root, root, dirs_exist_ok=True)
    folders = WorkFolders(root)
    NnUNetTraining(folders, device="cpu").run()
    return folders
