"""Every parameter of the zero-shot chain in one frozen object: what decides a result besides the networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from dataclasses import replace as changed_copy
from typing import Any, Literal

from medclipsam_monai.base.checked_fields import check_value, number
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.presets.methods import GROUPS, accepted, changed_group, check_group
from medclipsam_monai.presets.parameters import Parameters


@dataclass(frozen=True, kw_only=True)
class Settings(Parameters):
    """The parameters of the chain; every value is checked when it is made. A new one is a field here.

    Attributes:
        fit: how pictures that are not square go into the CLIP, "squash" or "letterbox".
        prompt_ensemble: what the sentences of one class share: "embeddings" explains their mean vector, as published;
            "maps" explains each sentence and takes the maps' `consensus`, at the cost of one map a sentence.
        fusion: None for SAM's single answer, or how its three are made one: "best", "mean", "score", "staple".
        threshold: of the probability in the final mask.
        keep_covered: None keeps as many components of the final mask as the coarse mask has, as published; a share
            also keeps each of which the coarse mask covers more, such as both lungs where it joins them.
        volumes: "whole" looks for a class in a volume as one, see `VolumeEvidence`, and asks the segmenter slice by
            slice; "propagated" asks it in the best slice of each body, whose mask its memory follows through the
            others: SAM 2.1 and EdgeTAM; "slices" takes each slice for a picture of its own, as published.
        slab: mm of neighbouring slices whose mean the CLIP sees in place of each slice, where a volume is looked at as
            one; the segmenter sees the slices themselves. 0 for each slice alone, as where their distance is unknown.
        presence_threshold: a class whose presence is known and below it is left empty; 0 makes a mask at any price.
        presence_scale: factor of the cosine difference in the presence's logistic function; None for the CLIP's own
            logit scale.
        saliency: "method" ("m2ib", "gscorecam" or "gradcam") and that method's parameters.
        coarse: "threshold" ("otsu", "two_means", "crf" with the parameters of `DenseCRF`, or a number) and
            "components" (None, "confident" with "min_confidence" and "keep_best", or "largest" with "k").
        prompts: parameters of `PromptsFromMask`.
        examples: parameters of `ByExamples`, where a class is given by labelled examples.

    Raises:
        InputError: a parameter of another type or out of its range, one that its method does not take, or an unknown
            method.
    """

    fit: Literal["squash", "letterbox"] = "squash"
    prompt_ensemble: Literal["embeddings", "maps"] = "embeddings"
    fusion: Literal["best", "mean", "score", "staple"] | None = None
    volumes: Literal["whole", "slices", "propagated"] = "whole"
    slab: float = number(0.0, 0, 100)
    threshold: float = number(0.5, 0, 1)
    keep_covered: float | None = number(None, 0, 1)
    presence_threshold: float = number(0.5, 0, 1)
    presence_scale: float | None = number(None, above=0, high=1_000_000)
    saliency: Mapping[str, Any] = field(default_factory=lambda: {"method": "m2ib"})
    coarse: Mapping[str, Any] = field(default_factory=lambda: {"threshold": "otsu", "components": "confident"})
    prompts: Mapping[str, Any] = field(default_factory=lambda: {"boxes": "single"})
    examples: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for group in GROUPS:
            check_group(group, getattr(self, group))

    @property
    def values(self) -> dict[str, Any]:
        """All parameters as plain data."""
        return asdict(self)

    def replace(self, changes: Mapping[str, Any]) -> Settings:
        """Settings with single parameters changed.

        Where a method is changed (saliency.method, coarse.threshold, coarse.components), the parameters that are set
        for the old one go with it.

        Args:
            changes: values by name, with a dot before a name inside a group: ``{"saliency.gamma": 2.0}``.

        Raises:
            InputError: if there is no such parameter, or it cannot have such a value.
        """
        check_value("settings", changes, Mapping)
        groups: dict[str, dict[str, Any]] = {}
        changed: dict[str, Any] = {}
        for key, value in changes.items():
            group, _, name = str(key).partition(".")
            if group not in self.values or (group in GROUPS) != bool(name):
                raise InputError(f"unknown setting {key!r}; expected one such as saliency.gamma or threshold")
            if name:
                groups.setdefault(group, {})[name] = value
            else:
                changed[group] = value
        changed |= {group: changed_group(group, getattr(self, group), parts) for group, parts in groups.items()}
        return changed_copy(self, **changed)

    def seeds(self, seed: int) -> dict[str, Any]:
        """The changes that give a seed to all that is random in these methods."""
        names = ["prompts.seed"]
        if "seed" in accepted("saliency", self.saliency):
            names.append("saliency.seed")
        return dict.fromkeys(names, seed)
