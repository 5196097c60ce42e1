"""What a visitor asks with: the fields of the page, and what the chain makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.presets import DEFAULT_PRESET, Preset
from medclipsam_monai.presets.methods import accepted
from medclipsam_monai.prompts import TextTarget, parse_targets
from medclipsam_monai.transforms import parse_window

BOXES: Mapping[str, str | None] = {"one box": "single", "a box per part": "components", "no box": None}
"""Visual prompts as the page calls them, and as `PromptParameters` does."""
LONGEST_TEXT = 2_000


@dataclass(frozen=True)
class Tuning:
    """Parameters that the page shows beside the text.

    Attributes:
        threshold: of the probability, see `Settings`.
        gamma: of the saliency; None where the preset's method has none.
        boxes: one of `BOXES`.
        points: how many in each visual prompt.
    """

    threshold: float
    gamma: float | None
    boxes: str
    points: int

    @classmethod
    def of(cls, preset: Preset) -> Tuning:
        """As a preset has them."""
        settings, names = preset.settings, {value: name for name, value in BOXES.items()}
        gamma = settings.saliency.get("gamma", 1.0) if "gamma" in accepted("saliency", settings.saliency) else None
        prompts = settings.prompts
        return cls(settings.threshold, gamma, names[prompts.get("boxes", "single")], prompts.get("points", 0))

    def changes(self, preset: Preset) -> dict[str, Any]:
        """The settings in which a preset differs, see `Settings.replace`; none where a record should say nothing.

        Raises:
            InputError: visual prompts without boxes and points, or of a kind that is not offered.
        """
        own = Tuning.of(preset)
        changed: dict[str, Any] = {}
        if self.boxes not in BOXES:
            raise InputError(f"visual prompts must be one of {', '.join(BOXES)}, got {self.boxes!r}")
        if self.boxes == "no box" and self.points == 0:
            raise InputError("visual prompts need a box or points; choose a box, or 1 point or more")
        if self.threshold != own.threshold:
            changed["threshold"] = self.threshold
        if self.gamma is not None and own.gamma is not None and self.gamma != own.gamma:
            changed["saliency.gamma"] = self.gamma
        if self.boxes != own.boxes:
            changed["prompts.boxes"] = BOXES[self.boxes]
        if self.points != own.points:
            changed["prompts.points"] = self.points
        return changed


@dataclass(frozen=True)
class Question:
    """What is asked of an image.

    Attributes:
        text: the classes, "lungs; heart"; `NAME=a sentence` names one.
        opposites: likewise, see `parse_targets`.
        preset: its name.
        task: of the preset, or None.
        tuning: None for the preset's own.
        always: a mask at any price, for who knows that the target is there.
        window: see `DisplayRange`; "" for automatic.
        slice_axis: see `TextSegmenter.open`.
    """

    text: str = ""
    opposites: str = ""
    preset: str = DEFAULT_PRESET
    task: str | None = None
    tuning: Tuning | None = None
    always: bool = False
    window: str = ""
    slice_axis: str = "acquired"

    def changes(self, preset: Preset) -> dict[str, Any]:
        """Settings that differ from a preset's, see `Settings.replace`."""
        changed = {} if self.tuning is None else self.tuning.changes(preset)
        return changed | ({"presence_threshold": 0.0} if self.always else {})

    def targets(self) -> tuple[TextTarget, ...]:
        """The classes.

        Raises:
            InputError: no text, or one that cannot be used.
        """
        for text in (self.text, self.opposites):
            if len(text) > LONGEST_TEXT:
                raise InputError(f"a text may have {LONGEST_TEXT:,} letters, got {len(text):,}")
        if not self.text.strip(" ;\n\t"):
            raise InputError("the text is empty; say what to look for, for example: lungs")
        return parse_targets(_parts(self.text), _parts(self.opposites) or None)

    def checked_window(self) -> str | None:
        """As `TextSegmenter.open` takes it.

        Raises:
            InputError: it is none.
        """
        window = self.window.strip()
        if window:
            parse_window(window)
        return window or None


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.replace("\n", ";").split(";") if part.strip()]
