"""Phantoms by task and seed: the same pair always gives the same picture, masks and captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from medclipsam_monai.phantoms import brain, ct, ultrasound, xray
from medclipsam_monai.phantoms.captions import CONCEPTS, Caption, facts_of, sample_captions
from medclipsam_monai.phantoms.scene import Dice, Scene, Target
from medclipsam_monai.phantoms.shapes import Mask, Picture

_DRAW: dict[str, Callable[[Dice], Scene]] = {m.TASK: m.draw for m in (ultrasound, brain, xray, ct)}

TASKS: tuple[str, ...] = tuple(_DRAW)

TARGETS: dict[str, tuple[str, ...]] = {
    task: tuple(name for name, concept in CONCEPTS.items() if task in concept.tasks) for task in TASKS
}
"""What a text can name, by task."""


@dataclass(frozen=True)
class Phantom:
    """A picture with everything known about it.

    Attributes:
        task: one of TASKS.
        seed: its index; with the task and the toggle it determines all the rest.
        image: (256, 256) float32 in [0, 1].
        findings: the targets that are present, by name; a target of the task without an entry is absent.
        masks: (256, 256) bool of each finding.
        parts: masks of further structures that no caption names.
        facts: every claim that holds for the picture.
        captions: some captions that hold for it, in random wordings.
        toggles: targets that `make_phantom(..., toggle=)` can flip with everything else left as it is.
    """

    task: str
    seed: int
    image: Picture
    findings: Mapping[str, Target]
    masks: Mapping[str, Mask]
    parts: Mapping[str, Mask]
    facts: frozenset[str]
    captions: tuple[Caption, ...]
    toggles: tuple[str, ...]


def make_phantom(task: str, seed: int, toggle: str | None = None, captions: int = 4) -> Phantom:
    """Draw a phantom.

    Args:
        task: one of TASKS.
        seed: zero or positive; the same seed gives the same phantom.
        toggle: flip the presence of this target and leave the rest of the picture as it is; one of the `toggles` of
            the phantom drawn without it.
        captions: number of captions.

    Raises:
        ValueError: for an unknown task, a negative seed or a target that cannot be flipped.
    """
    if task not in _DRAW:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    if seed < 0:
        raise ValueError(f"seed must be zero or positive, got {seed}")
    scene = _DRAW[task](Dice(task, seed, toggle))
    if toggle is not None and toggle not in scene.toggles and toggle not in _DRAW[task](Dice(task, seed)).toggles:
        raise ValueError(f"{toggle!r} cannot be flipped in {task} {seed}; possible: {', '.join(scene.toggles)}")
    facts = facts_of(task, scene.targets)
    rng = Dice(task, seed).stream(f"captions {toggle}")
    return Phantom(
        task=task,
        seed=seed,
        image=scene.image,
        findings=scene.targets,
        masks={name: target.mask for name, target in scene.targets.items()},
        parts=scene.parts,
        facts=facts,
        captions=tuple(sample_captions(facts, rng, captions)),
        toggles=scene.toggles,
    )
