"""Real images and their masks in the form that the small networks learn phantoms from.

Of a phantom everything is known; of a real image only what its table says. Facts that nobody has told are marked as
unknown, so that no training takes them as false. Images are varied, and lie in pairs, as in `build_corpus`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from monai.transforms import (
    Compose,
    RandAffined,
    RandBiasFieldd,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
)
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.clip.preprocess import Fit
from medclipsam_monai.phantoms.captions import CONCEPTS, GROUPS, all_facts, is_normal
from medclipsam_monai.phantoms.shapes import SIZE
from medclipsam_monai.study.cases import Case
from medclipsam_monai.study.phantom_table import PHANTOM_TASKS
from tools.training.corpus import Corpus


@dataclass(frozen=True)
class Told:
    """What a table says of an image, as facts of `all_facts`: those that hold, and those it leaves open."""

    holds: frozenset[str]
    unknown: frozenset[str]


@dataclass(frozen=True)
class RealImage:
    """An image as the networks see it: picture (1, 256, 256) in [0, 1], mask (1, 256, 256) bool, and its words."""

    picture: Tensor
    mask: Tensor
    name: str
    told: Told


def what_is_told(task: str, finding: str, shown: bool) -> Told:
    """The facts that a row of a table settles.

    Args:
        task: one of `PHANTOM_TASKS`; of others nothing is told.
        finding: which kind of the target the image shows; "normal" rules out all that is abnormal.
        shown: whether the mask has a pixel.
    """
    if task not in PHANTOM_TASKS:
        return Told(frozenset(), frozenset(all_facts()))
    kind, targets = PHANTOM_TASKS[task]
    matching = {name for name, of in targets.items() if of == finding or len(targets) == 1}
    there = matching if shown else set()
    gone = {name for name in targets if not shown or (there and name not in there)}
    gone |= {name for name, concept in CONCEPTS.items() if kind not in concept.tasks}
    if finding == "normal":
        gone |= set(GROUPS["abnormality"][0]) - there
    one_of = (there or set(targets)) if shown else {""}
    there = there | {group for group, (members, _) in GROUPS.items() if one_of <= set(members)}
    gone = gone | {group for group, (members, _) in GROUPS.items() if gone >= set(members)}
    holds = {kind, *there, *(f"no {name}" for name in gone)}
    holds |= {f"{name}/{finding}" for name in there & CONCEPTS.keys() if finding in (CONCEPTS[name].kinds or {})}
    if is_normal(frozenset(holds), kind):
        holds.add("normal")
    return Told(frozenset(holds), frozenset(fact for fact in all_facts() if not _is_settled(fact, holds, there, gone)))


def _is_settled(fact: str, holds: set[str], there: set[str], gone: set[str]) -> bool:
    """Whether it is known that a fact holds, or that it does not."""
    name, _, detail = fact.removeprefix("no ").partition("/")
    if fact == "normal":
        return "normal" in holds or "abnormality" in there
    if name not in CONCEPTS and name not in GROUPS:  # a modality
        return True
    if detail:
        return fact in holds or name in gone
    return name in there or name in gone


def read_real_images(cases: Sequence[Case], fit: Fit) -> dict[str, list[RealImage]]:
    """The images of each task in a square, "squash" as the small CLIP sees them, "letterbox" as SAM does.

    Raises:
        InputError: a file that cannot be used.
    """
    images: dict[str, list[RealImage]] = defaultdict(list)
    for case in cases:
        picture, mask = case.load()
        shown = bool(mask.any())
        told = what_is_told(case.task, case.finding, shown)
        named = [name for name in PHANTOM_TASKS.get(case.task, ("", {}))[1] if name in told.holds]
        square = _in_square(picture.mean(dim=0), fit), _in_square(mask.float(), fit, "area") > 0.5
        name = named[0] if named else case.target if shown else ""
        images[case.task].append(RealImage(*square, name, _presence_open(told)))
    return images


def _presence_open(told: Told) -> Told:
    """Leave open that the target is there; where it lies is still learnt, and that it is absent elsewhere.

    Few images are known by heart soon. Then the whole picture speaks for its target, and M2IB, which asks what the
    picture's agreement with the text hangs on, finds nothing or the opposite.
    """
    names = CONCEPTS.keys() | GROUPS.keys()
    shown = frozenset(fact for fact in told.holds if fact.partition("/")[0] in names)
    return Told(told.holds - shown, told.unknown | shown)


def _in_square(x: Tensor, fit: Fit, mode: str = "bilinear") -> Tensor:
    """(H, W) to (1, SIZE, SIZE): squashed, or its longer side fits and the rest, right or below, is empty."""
    sides = [max(1, round(side * SIZE / max(x.shape))) for side in x.shape] if fit == "letterbox" else [SIZE, SIZE]
    options = {} if mode == "area" else {"align_corners": False, "antialias": True}
    fitted = F.interpolate(x[None, None], sides, mode=mode, **options)[0]
    return F.pad(fitted, (0, SIZE - sides[1], 0, SIZE - sides[0]))


def real_corpus(images: dict[str, list[RealImage]], pairs: int, seed: int = 0) -> Corpus:
    """Variations of real images in pairs of one task, every task as often as any other.

    Where a task has images with and without its target, half of its pairs hold one of each.

    Args:
        images: of each task, from `read_real_images`.
        pairs: to make of each task.
        seed: of choice and variation.
    """
    rng, vary = np.random.default_rng(seed), _variation()
    vary.set_random_state(seed)
    chosen = [image for group in images.values() for _ in range(pairs) for image in _pair(group, rng)]
    columns = {fact: k for k, fact in enumerate(all_facts())}
    pictures, masks = (np.zeros((len(chosen), SIZE, SIZE), kind) for kind in (np.uint8, np.uint16))
    facts, unknown = (np.zeros((len(chosen), len(columns)), bool) for _ in range(2))
    for row, image in enumerate(chosen):
        varied = vary({"image": image.picture, "mask": image.mask.float()})
        pictures[row] = np.asarray(varied["image"][0]).clip(0, 1) * 255 + 0.5
        masks[row] = np.asarray(varied["mask"][0]) > 0.5
        facts[row, [columns[fact] for fact in image.told.holds]] = True
        unknown[row, [columns[fact] for fact in image.told.unknown]] = True
    return Corpus(pictures, masks, facts, unknown, [[image.name] if image.name else [] for image in chosen])


def _pair(group: list[RealImage], rng: np.random.Generator) -> tuple[RealImage, RealImage]:
    first = group[int(rng.integers(len(group)))]
    others = [image for image in group if bool(image.mask.any()) != bool(first.mask.any())]
    pool = others if others and rng.random() < 0.5 else group
    return first, pool[int(rng.integers(len(pool)))]


def _variation() -> Compose:
    """How a picture could have looked as well: turned, larger, aside, mirrored, uneven, noisy, blurred."""
    return Compose(
        [
            RandAffined(
                ("image", "mask"),
                prob=0.9,
                rotate_range=0.2,
                scale_range=(0.2, 0.2),
                translate_range=(24, 24),
                mode=("bilinear", "nearest"),
                padding_mode="zeros",
            ),
            RandFlipd(("image", "mask"), prob=0.5, spatial_axis=1),
            RandBiasFieldd("image", prob=0.3, coeff_range=(0.0, 0.2)),
            RandGaussianSmoothd("image", prob=0.2, sigma_x=(0.3, 1.2), sigma_y=(0.3, 1.2)),
            RandGaussianNoised("image", prob=0.3, std=0.04),
        ]
    )


def joined(first: Corpus, second: Corpus) -> Corpus:
    """Two corpora as one."""
    return Corpus(
        np.concatenate([first.images, second.images]),
        np.concatenate([first.masks, second.masks]),
        np.concatenate([first.facts, second.facts]),
        np.concatenate([first.unknown, second.unknown]),
        [*first.names, *second.names],
    )


def check_shown(cases: Sequence[Case]) -> None:
    """Refuse cases of which none shows its target; all files are read.

    Raises:
        InputError: so, or a file that cannot be used.
    """
    shown = [bool(case.load()[1].any()) for case in cases]
    if not any(shown):
        raise InputError(f"none of the {len(cases)} images to learn from shows its target")


def check_words(cases: Sequence[Case]) -> None:
    """Refuse cases of a task that the small CLIP has no words for.

    Raises:
        InputError: which.
    """
    wrong = next((case.task for case in cases if case.task not in PHANTOM_TASKS), None)
    if wrong is not None:
        raise InputError(f"no masks of the task {wrong!r} can train CLIP; it has words for {', '.join(PHANTOM_TASKS)}")
