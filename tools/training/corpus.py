"""Phantoms drawn ahead of training, on disk: pictures, masks and facts as memory-mapped arrays.

Items 2g and 2g + 1 are one picture before and after a single target was flipped, so that a batch of whole pairs can
only be told apart by the target itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medclipsam_monai.phantoms.captions import all_facts
from medclipsam_monai.phantoms.phantom import TASKS, Phantom, make_phantom
from medclipsam_monai.phantoms.scene import Dice
from medclipsam_monai.phantoms.seeds import DEMO_PARTNERS, DEMO_TRAINING, SeedRange
from medclipsam_monai.phantoms.shapes import SIZE

MAX_MASKS = 16
_CHUNK = 64


@dataclass(frozen=True)
class Corpus:
    """N phantoms.

    Attributes:
        images: (N, 256, 256) uint8.
        masks: (N, 256, 256) uint16; bit k is the k-th mask of the phantom, the findings first.
        facts: (N, F) bool, columns as in `all_facts()`.
        unknown: (N, F) bool, facts that nobody has told; none of a phantom.
        names: for each phantom the names of its masks.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint16]
    facts: NDArray[np.bool_]
    unknown: NDArray[np.bool_]
    names: list[list[str]]

    def __len__(self) -> int:
        return len(self.names)

    def mask(self, index: int, name: str) -> NDArray[np.bool_]:
        """One mask (256, 256) of one phantom."""
        return (self.masks[index] >> self.names[index].index(name) & 1).astype(bool)


def _pair(group: int, seeds: SeedRange, partners: SeedRange) -> tuple[Phantom, Phantom]:
    task, number = TASKS[group % len(TASKS)], group // len(TASKS)
    (seed,) = seeds.seeds(1, number)
    phantom = make_phantom(task, seed, captions=0)
    if not phantom.toggles:
        # Nothing to flip in this view: the partner is another picture.
        (other,) = partners.seeds(1, number)
        return phantom, make_phantom(task, other, captions=0)
    toggle = str(Dice(task, seed).stream("toggle").choice(phantom.toggles))
    return phantom, make_phantom(task, seed, toggle, captions=0)


def _draw(
    groups: Sequence[int], seeds: SeedRange, partners: SeedRange
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], list[list[str]]]:
    facts = all_facts()
    images = np.empty((2 * len(groups), SIZE, SIZE), np.uint8)
    masks = np.zeros((2 * len(groups), SIZE, SIZE), np.uint16)
    truth = np.zeros((2 * len(groups), len(facts)), bool)
    names = []
    for row, phantom in enumerate(p for group in groups for p in _pair(group, seeds, partners)):
        images[row] = np.round(phantom.image * 255)
        every = {**phantom.masks, **{f"part: {name}": mask for name, mask in phantom.parts.items()}}
        for bit, mask in enumerate(list(every.values())[:MAX_MASKS]):
            masks[row] |= mask.astype(np.uint16) << np.uint16(bit)
        truth[row] = [fact in phantom.facts for fact in facts]
        names.append(list(every)[:MAX_MASKS])
    return images, masks, truth, names


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started here multiply matrices with one thread: small ones only get in each other's way."""
    name = "OPENBLAS_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def build_corpus(
    folder: Path,
    groups: int,
    seeds: SeedRange = DEMO_TRAINING,
    partners: SeedRange = DEMO_PARTNERS,
    workers: int = 2,
) -> Corpus:
    """Draw `groups` pairs of phantoms into `folder` and open them; what is already there is opened only.

    Args:
        folder: where the arrays lie, about 200 kB a phantom.
        groups: number of pairs.
        seeds: of the pairs.
        partners: of the second pictures of pairs in which there is nothing to flip.
        workers: processes that draw.

    Raises:
        InputError: more pairs than the ranges hold.
    """
    done = folder / "names.json"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (2 * groups, SIZE, SIZE))
        masks = np.lib.format.open_memmap(folder / "masks.npy", "w+", np.uint16, (2 * groups, SIZE, SIZE))
        facts = np.zeros((2 * groups, len(all_facts())), bool)
        names: list[list[str]] = []
        chunks = [range(start, min(start + _CHUNK, groups)) for start in range(0, groups, _CHUNK)]
        draw = partial(_draw, seeds=seeds, partners=partners)
        with _one_thread_each(), ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            for chunk, drawn in zip(chunks, pool.map(draw, chunks), strict=True):
                rows = slice(2 * chunk.start, 2 * chunk.stop)
                images[rows], masks[rows], facts[rows] = drawn[:3]
                names += drawn[3]
        images.flush()
        masks.flush()
        np.save(folder / "facts.npy", facts)
        done.write_text(json.dumps(names))
    facts = np.load(folder / "facts.npy")
    return Corpus(
        np.load(folder / "images.npy", mmap_mode="r"),
        np.load(folder / "masks.npy", mmap_mode="r"),
        facts,
        np.zeros_like(facts),
        json.loads(done.read_text()),
    )
