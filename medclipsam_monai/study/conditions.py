"""The ways to segment that a study compares: saliency, coarse mask, visual prompt, and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.presets.settings import Settings
from medclipsam_monai.prompts import LEVELS, PromptSet

SALIENCIES = ("m2ib", "gscorecam", "gradcam")
COARSE = ("otsu", "otsu+components", "two_means", "two_means+components", "crf", "crf+components")
VISUAL_PROMPTS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "box": {"boxes": "single", "points": 0},
    "boxes": {"boxes": "components", "points": 0},
    "points": {"boxes": None, "points": 3},
    "box+points": {"boxes": "single", "points": 3},
}
"""Parameters of `PromptsFromMask`; with "none" the coarse mask is the result and SAM is not asked."""
TEXTS = (*LEVELS, "wordings", "ensembles")
RIVALS = ("salip", "samaug_random", "samaug_entropy", "samaug_distance", "samaug_saliency")
"""Other zero-shot methods on the same networks, see `medclipsam_monai.study.rivals`; each is asked with each text."""
PROTOTYPES, UNIVERSEG = "prototypes", "universeg"
FEW_SHOT = (PROTOTYPES, UNIVERSEG)
"""Methods that are shown labelled examples and no text, see `medclipsam_monai.study.rivals.few_shot`."""
DRAWS, DRAWN = 10, 5
"""Of "ensembles": how many random sets of wordings, and of how many each."""


@dataclass(frozen=True)
class TextChoice:
    """One way to ask for a class.

    Attributes:
        name: as the tables call it.
        sentences: one or several.
        over_maps: whether several share the consensus of their maps; else their mean vector.
    """

    name: str
    sentences: tuple[str, ...]
    over_maps: bool = False


@dataclass(frozen=True)
class Plan:
    """What a study varies; every combination is run.

    Args:
        saliencies: some of `SALIENCIES`.
        coarse: some of `COARSE`.
        prompts: some of `VISUAL_PROMPTS`.
        texts: some of `TEXTS`: levels of the task's prompt set, each of its ten wordings alone, or ten random sets of
            five wordings, once by their mean vector and once by the consensus of their maps.
        rivals: some of `RIVALS` and `FEW_SHOT`, beside the combinations.

    Raises:
        InputError: a name that is none of these, or nothing to vary.
    """

    saliencies: tuple[str, ...] = SALIENCIES
    coarse: tuple[str, ...] = ("otsu", "otsu+components")
    prompts: tuple[str, ...] = ("none", "box", "points", "box+points")
    texts: tuple[str, ...] = ("P0",)
    rivals: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = {
            "saliency": (self.saliencies, SALIENCIES),
            "coarse": (self.coarse, COARSE),
            "visual-prompt": (self.prompts, tuple(VISUAL_PROMPTS)),
            "text": (self.texts, TEXTS),
            "rival": (self.rivals, (*RIVALS, *FEW_SHOT)),
        }
        for name, (chosen, choices) in known.items():
            wrong = [one for one in chosen if one not in choices]
            if wrong or (not chosen and name != "rival"):
                raise InputError(
                    f"{name} must be some of {', '.join(choices)}, got {wrong[0]!r}"
                    if wrong
                    else f"{name} must name at least one of {', '.join(choices)}"
                )

    @property
    def few_shot(self) -> tuple[str, ...]:
        """The rivals that are shown examples."""
        return tuple(rival for rival in self.rivals if rival in FEW_SHOT)

    def settings(self, base: Settings, saliency: str, coarse: str, prompt: str) -> Settings:
        """Settings with one combination's methods; what they say of a method that stays is kept."""
        threshold, _, components = coarse.partition("+")
        changes: dict[str, Any] = {"saliency.method": saliency, "coarse.threshold": threshold}
        if not components:
            changes["coarse.components"] = None
        elif base.coarse.get("components") is None:
            changes["coarse.components"] = "confident"
        changes |= {f"prompts.{name}": value for name, value in (VISUAL_PROMPTS[prompt] or {}).items()}
        return base.replace(changes)


def text_choices(kinds: Sequence[str], prompts: PromptSet, finding: str) -> list[TextChoice]:
    """The texts of some kinds for one image.

    Args:
        kinds: some of `TEXTS`. A level that the set does not have for the finding is left out.
        prompts: the task's prompt set.
        finding: which kind of the target the image shows; may be empty.
    """
    choices: list[TextChoice] = []
    wordings = tuple(target.sentences[0] for target in prompts.wording_targets())
    for kind in kinds:
        if kind == "wordings":
            choices += [TextChoice(f"wording {n}", (text,)) for n, text in enumerate(wordings, start=1)]
        elif kind == "ensembles":
            choices += _ensembles(wordings)
        elif prompts.has(kind, finding or None):
            choices.append(TextChoice(kind, prompts.target_at(kind, finding or None).sentences))
    return choices


def _ensembles(wordings: tuple[str, ...]) -> list[TextChoice]:
    """Random sets of wordings, the same for every image."""
    random = Random(0)
    drawn = [tuple(random.sample(wordings, min(DRAWN, len(wordings)))) for _ in range(DRAWS)]
    return [
        TextChoice(f"{name} of {DRAWN}, draw {n}", sentences, name == "maps")
        for name in ("embeddings", "maps")
        for n, sentences in enumerate(drawn, start=1)
    ]
