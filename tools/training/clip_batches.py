"""What a step of the small CLIP's training sees: pictures, captions and what they claim, and where targets lie."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from medclipsam_monai.phantoms.captions import GROUPS, Caption, all_facts, sample_captions, say_absent, say_present
from medclipsam_monai.phantoms.phantom import TARGETS, TASKS
from tools.training.clip_files import PIXEL_MEAN, PIXEL_STD
from tools.training.corpus import Corpus

IMAGE_SIZE = 224
GRID = 14
PAIRS = tuple((task, name) for task in TASKS for name in TARGETS[task])
GROUP_PAIRS = tuple(
    (task, group) for task in TASKS for group, (members, _) in GROUPS.items() if set(members) & set(TARGETS[task])
)
_COLUMN = {fact: k for k, fact in enumerate(all_facts())}
Pairs = tuple[tuple[str, str], ...]


def normalise(images: NDArray[np.uint8], rng: np.random.Generator | None) -> Tensor:
    """Pictures (B, 256, 256) uint8 to the tower's input (B, 3, 224, 224), contrast varied if `rng` is given."""
    x = torch.from_numpy(np.ascontiguousarray(images)).float().unsqueeze(1) / 255
    x = F.interpolate(x, (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", antialias=True, align_corners=False)
    if rng is not None:
        gamma = torch.from_numpy(np.exp(rng.normal(0, 0.2, (len(x), 1, 1, 1)))).float()
        x = x.clamp(0, 1).pow(gamma)
    return ((x - PIXEL_MEAN) / PIXEL_STD).expand(-1, 3, -1, -1)


def claims_matrix(captions: list[Caption]) -> NDArray[np.bool_]:
    """Which fact each caption claims, (N, F)."""
    matrix = np.zeros((len(captions), len(_COLUMN)), bool)
    for row, caption in enumerate(captions):
        matrix[row, [_COLUMN[claim] for claim in caption.claims]] = True
    return matrix


def holds_matrix(possible: NDArray[np.bool_], captions: list[Caption]) -> Tensor:
    """(B, N): whether caption n holds, or may hold, for picture b; (B, F) facts that do, or may."""
    missing = (~possible).astype(np.float32) @ claims_matrix(captions).astype(np.float32).T
    return torch.from_numpy(missing == 0)


def _task_of(facts: NDArray[np.bool_]) -> str:
    return TASKS[int(facts[[_COLUMN[task] for task in TASKS]].argmax())]


def caption_slots(facts: NDArray[np.bool_], slots: int, rng: np.random.Generator) -> list[list[Caption]]:
    """For each slot one caption a picture; the first slot speaks of what tells the two pictures of a pair apart."""
    names = all_facts()
    words = [frozenset(names[k] for k in np.flatnonzero(row)) for row in facts]
    captions = [sample_captions(word, rng, slots) for word in words]
    first = []
    for row, word in enumerate(words):
        task, other = _task_of(facts[row]), words[row ^ 1]
        differing = [n for n in TARGETS[task] if {n, f"no {n}"} <= word ^ other]
        if differing and task in other:
            name = differing[int(rng.integers(len(differing)))]
            first.append(say_present(name, task, rng) if name in word else say_absent(name, task, rng))
        else:
            first.append(sample_captions(word, rng, 1)[0])
    return [first, *([row[s] for row in captions] for s in range(slots))]


def probes(pairs: Pairs, rng: np.random.Generator) -> list[Caption]:
    """For every target of every modality a sentence that it is there, then one each that it is not."""
    present = [say_present(name, task, rng) for task, name in pairs]
    return present + [say_absent(name, task, rng) for task, name in pairs]


def probe_truth(pairs: Pairs, facts: NDArray[np.bool_], unknown: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
    """For pictures (B, F): whether each of P targets is there, and whether that is known at all; both (B, P)."""
    targets = [_COLUMN[name] for _, name in pairs]
    present = facts[:, targets]
    own = facts[:, [_COLUMN[task] for task, _ in pairs]] & ~unknown[:, targets]
    return torch.from_numpy(present).float(), torch.from_numpy(own)


def mask_share(pairs: Pairs, corpus: Corpus, indices: NDArray[np.int64]) -> Tensor:
    """How much of each of 14 x 14 patches each of P targets covers: (B, P, 196), NaN where the target is absent.

    A group covers what its members cover.
    """
    share = np.full((len(indices), len(pairs), GRID * GRID), np.nan, np.float32)
    for row, index in enumerate(indices):
        for k, (task, name) in enumerate(pairs):
            members = GROUPS[name][0] if name in GROUPS else (name,)
            masks = [corpus.mask(int(index), member) for member in members if member in corpus.names[index]]
            if masks and corpus.facts[index, _COLUMN[task]]:
                mask = torch.from_numpy(np.logical_or.reduce(masks)).float()[None, None]
                share[row, k] = F.adaptive_avg_pool2d(mask, GRID).flatten().numpy()
    return torch.from_numpy(share)
