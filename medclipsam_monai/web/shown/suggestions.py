"""What could be asked: of what a preset knows on this kind of picture, and of the prompt sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from medclipsam_monai.presets import Preset
from medclipsam_monai.web.visits.reworded import shipped_sets

MOST_CHIPS = 8


@dataclass(frozen=True)
class Suggestion:
    """A text to ask with.

    Attributes:
        label: what is shown.
        text: what is asked.
    """

    label: str
    text: str


def suggested(preset: Preset, kinds: Sequence[str]) -> list[Suggestion]:
    """Targets for a picture of some kinds: what the weights know on them, then those of prompt sets for such pictures.

    Args:
        preset: whose weights are asked.
        kinds: of the picture, the likeliest first; none where that is not known.
    """
    names = [target for kind in kinds for target in preset.knows.get(kind, ())]
    names += [one.target for one in shipped_sets() if one.modality in kinds]
    if not names:
        names = [target for targets in preset.knows.values() for target in targets[:1]]
    return [Suggestion(name, name) for name in list(dict.fromkeys(names))[:MOST_CHIPS]]


def sentences_of_sets() -> list[tuple[str, str]]:
    """Every level of every prompt set that names no finding: a label, and the text as the page takes it."""
    found = []
    for prompts in shipped_sets():
        for level, sentences in prompts.levels.items():
            text = "; ".join(f"{prompts.target}={sentence}" for sentence in sentences)
            found.append((f"{prompts.target}, {prompts.modality}: {_LEVELS[level]}", text))
    return found


_LEVELS = {"P0": "its name", "P1": "a sentence", "P2": "a description", "P4": "several sentences"}


def chips(suggestions: Sequence[Suggestion]) -> str:
    """Buttons that put a text into the page's field, or add it to what is there."""
    return "".join(
        f'<button type="button" class="chip" data-text="{escape(one.text, quote=True)}">{escape(one.label)}</button>'
        for one in suggestions
    )
