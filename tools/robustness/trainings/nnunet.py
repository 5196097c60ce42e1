"""Short cyclic trainings by nnU-Net that are killed, and must go on to the members of an unbroken one.

A training is two processes: ours, which waits, and nnU-Net's. Either is killed, or both at once.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image

from medclipsam_monai.phantoms import make_phantom
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.dataset import build_dataset
from medclipsam_monai.weak.nnunet.planning import plan
from medclipsam_monai.weak.nnunet.schedule import CyclicSchedule
from medclipsam_monai.weak.nnunet.training import NnUNetTraining, read_progress
from medclipsam_monai.weak.pseudo.labels import PseudoLabel
from tools.robustness.kill_forks import Ending, Fork

_SHORT = CyclicSchedule(epochs=4, cycles=2, per_cycle=1, iterations=3, validation_iterations=1, seed=3)
_FIRST_SEED, _CASES, _STEP = 3_200_000, 6, 4
WHOM = ("ours", "nnU-Net's", "both")
_GRACE = 3.0  # seconds in which nnU-Net's process must end after ours was killed


@dataclass(frozen=True)
class Moment:
    """Whom to kill, and when: some seconds after the folder has changed so many times."""

    whom: str
    changes: int
    after: float


@dataclass
class NnunetBench:
    """A planned work folder, and the folder of an unbroken training of it, which changed so many times."""

    planned: Path
    clean: Path
    changes: int = 0

    @classmethod
    def set_up(cls, folder: Path) -> NnunetBench:
        """Draw phantoms, plan, and train once without any kill.

        Raises:
            RuntimeError: that went wrong already.
        """
        torch.set_num_threads(1)  # threads do not outlive a fork
        bench = cls(folder / "planned", folder / "clean")
        build_dataset(_phantoms(folder / "drawn"), ["lungs"], WorkFolders(bench.planned), validation=0.34)
        plan(WorkFolders(bench.planned), _SHORT, size="tiny")
        shutil.copytree(bench.planned, bench.clean)
        ending, bench.changes = bench.run(bench.clean)
        if not ending.ended or ending.trouble:
            raise RuntimeError(f"a training without any kill ended with {ending}")
        return bench

    def run(self, root: Path, moment: Moment | None = None) -> tuple[Ending, int]:
        """One training, in processes of its own, to its end or to a kill; and how often its folder changed."""

        def train() -> int:
            return len(NnUNetTraining(root, device="cpu", progress=False, tensorboard=False).run())

        fork = Fork(train, root)
        fold = WorkFolders(root).fold
        state, seen = _state(fold), 0
        while fork.process.is_alive():
            if moment is not None and seen >= moment.changes:
                time.sleep(moment.after)
                _kill(fork.process.pid or 0, moment.whom)
                break
            now = _state(fold)
            seen += now != state
            state = now
            time.sleep(0.002)
        return fork.finish(), seen

    def wrong(self, root: Path) -> Iterator[str]:
        """What is wrong with a training that went on after a kill and came to its end."""
        folders, clean = WorkFolders(root), WorkFolders(self.clean)
        listed, right = (json.loads(one.members_json.read_text(encoding="utf-8")) for one in (folders, clean))
        if listed != right:
            yield "members.json is not that of an unbroken training"
        for member in right["members"]:
            one, other = (_weights(place.fold / member["file"]) for place in (folders, clean))
            if one is None or other is None:
                yield f"{member['file']} is missing or damaged"
            elif not all(torch.equal(one[key], other[key]) for key in other):
                yield f"{member['file']} holds other weights than an unbroken training's"
        figures = [[(row.epoch, row.lr, row.train_loss) for row in read_progress(place)] for place in (folders, clean)]
        if figures[0] != figures[1]:
            yield "progress.csv is not that of an unbroken training"
        yield from (f"{path.name} is left over" for path in sorted(folders.fold.glob("*.part")))

    def torn(self, root: Path) -> Iterator[str]:
        """What a killed training left under a final name and that is not whole."""
        for path in sorted(WorkFolders(root).fold.glob("checkpoint_*.pth")):
            if _weights(path) is None:
                yield f"{path.name} is torn"


def draw_moment(changes: int, rng: np.random.Generator) -> Moment:
    """Any change of the folder, up to half a second after it; the first is that training starts at all."""
    return Moment(WHOM[rng.integers(3)], int(rng.integers(0, changes)), float(rng.uniform(0, 0.5)))


def _phantoms(folder: Path) -> list[PseudoLabel]:
    """Pictures of chests with the true masks of their lungs; not every one that is drawn has them."""
    folder.mkdir(parents=True)
    labels: list[PseudoLabel] = []
    for seed in itertools.count(_FIRST_SEED):
        phantom = make_phantom("chest_xray", seed)
        if len(labels) == _CASES:
            break
        if "lungs" in phantom.masks:
            image, mask = folder / f"case{len(labels)}.png", folder / f"case{len(labels)}_mask.png"
            Image.fromarray((255 * phantom.image[::_STEP, ::_STEP]).round().astype(np.uint8)).save(image)
            Image.fromarray(phantom.masks["lungs"][::_STEP, ::_STEP].astype(np.uint8)).save(mask)
            labels.append(PseudoLabel(image.stem, image, mask, {}))
    return labels


def _state(folder: Path) -> set[tuple[str, int]]:
    try:
        return {(entry.name, entry.inode()) for entry in os.scandir(folder)}
    except OSError:
        return set()


def _kill(ours: int, whom: str) -> None:
    """Kill our process, nnU-Net's, or both; after ours alone nnU-Net's must end by itself.

    Raises:
        RuntimeError: it goes on, and would write into the folder beside the next training.
    """
    try:
        others = psutil.Process(ours).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for process in others if whom != "ours" else ():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    if whom != "nnU-Net's":
        os.kill(ours, signal.SIGKILL)
    _, alive = psutil.wait_procs(others, timeout=_GRACE if whom != "nnU-Net's" else 0)
    if alive and whom != "nnU-Net's":
        for process in alive:
            process.kill()
        raise RuntimeError("nnU-Net went on training though the process that waits for it was killed")


def _weights(path: Path) -> dict[str, torch.Tensor] | None:
    try:
        weights: dict[str, torch.Tensor] = torch.load(path, weights_only=False)["network_weights"]
    except Exception:  # torch has many ways to say that a file is damaged
        return None
    return weights
