"""A preset is data: the weights to load and every parameter of the zero-shot chain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from medclipsam_monai.errors import InputError

PRESET_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Preset:
    """Everything that decides a result but the image and the text.

    Attributes:
        name: the file's stem.
        description: one line.
        clip: CLIP weights, see `medclipsam_monai.weights.resolve`.
        sam: SAM weights, likewise.
        fit: how pictures that are not square go into the CLIP, "squash" or "letterbox".
        saliency: "method" and that method's parameters.
        coarse: "threshold" ("otsu", "two_means" or a number) and "components" (None, "confident" with
            "min_confidence" and "keep_best", or "largest" with "k").
        prompts: parameters of `PromptsFromMask`.
        fusion: see `ZeroShotSegmenter`.
        threshold: see `ZeroShotSegmenter`.
        presence_threshold: see `ZeroShotSegmenter`.
        presence_scale: see `ZeroShotSegmenter`.
    """

    name: str
    description: str
    clip: str
    sam: str
    fit: str = "squash"
    saliency: Mapping[str, Any] = field(default_factory=lambda: {"method": "m2ib"})
    coarse: Mapping[str, Any] = field(default_factory=lambda: {"threshold": "otsu", "components": "confident"})
    prompts: Mapping[str, Any] = field(default_factory=lambda: {"boxes": "single"})
    fusion: str | None = None
    threshold: float = 0.5
    presence_threshold: float = 0.5
    presence_scale: float | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """What a record says of the method: all but the name, the description and where the weights lie."""
        content = asdict(self)
        return {key: content[key] for key in content if key not in ("name", "description", "clip", "sam")}

    def with_settings(self, settings: Mapping[str, Any]) -> Preset:
        """A preset with single parameters changed.

        Args:
            settings: values by name, with a dot before a name inside a group: ``{"saliency.gamma": 2.0}``.

        Raises:
            InputError: if there is no such parameter.
        """
        content = asdict(self)
        for key, value in settings.items():
            group, _, name = key.partition(".")
            if (
                group not in content
                or group in ("name", "description")
                or isinstance(content[group], dict) != bool(name)
            ):
                raise InputError(f"unknown setting {key!r}; expected one such as saliency.gamma or threshold")
            if name:
                content[group] = {**content[group], name: value}
            else:
                content[group] = value
        return Preset(**content)


def preset_names() -> list[str]:
    """The presets that come with the package."""
    return sorted(path.stem for path in PRESET_FOLDER.glob("*.json"))


def load_preset(source: str | Path | Preset) -> Preset:
    """A preset by name, or from a JSON file of one's own.

    Raises:
        InputError: if there is none of that name, or the file is no preset.
    """
    if isinstance(source, Preset):
        return source
    path = PRESET_FOLDER / f"{source}.json"
    if str(source) not in preset_names():
        path = Path(source)
        if path.suffix != ".json" or not path.is_file():
            names = ", ".join(preset_names())
            raise InputError(f"unknown preset {str(source)!r}; expected one of {names}, or the path of a JSON file")
    return _from_file(path)


def _from_file(path: Path) -> Preset:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"preset {path} is not a readable JSON file: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"preset {path} must hold a JSON object, got a {type(content).__name__}")
    known = {f.name for f in fields(Preset)} - {"name"}
    unknown = sorted(content.keys() - known)
    missing = sorted({"description", "clip", "sam"} - content.keys())
    if unknown or missing:
        what = f"has an unknown key {unknown[0]!r}" if unknown else f"lacks {missing[0]!r}"
        raise InputError(f"preset {path} {what}; expected {', '.join(sorted(known))}")
    return Preset(name=path.stem, **content)
