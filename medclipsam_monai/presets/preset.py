"""A preset is data: the weights to load and every parameter of the zero-shot chain, and what differs for a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from medclipsam_monai.base.checked_fields import check_value
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object
from medclipsam_monai.presets.methods import GROUPS, accepted, changed_group, check_group
from medclipsam_monai.presets.parameters import ChainParameters

PRESET_FOLDER = Path(__file__).parent
_NOT_SETTINGS = ("name", "description", "tasks", "task")


@dataclass(frozen=True, kw_only=True)
class Preset(ChainParameters):
    """Everything that decides a result but the image and the text; every value is checked when it is made.

    Attributes:
        name: the file's stem.
        description: one line.
        clip: CLIP weights, see `medclipsam_monai.weights.registry.resolve`.
        sam: SAM weights, likewise.
        fit: how pictures that are not square go into the CLIP, "squash" or "letterbox".
        saliency: "method" ("m2ib", "gscorecam" or "gradcam") and that method's parameters.
        coarse: "threshold" ("otsu", "two_means", "crf" with the parameters of `DenseCRF`, or a number) and
            "components" (None, "confident" with "min_confidence" and "keep_best", or "largest" with "k").
        prompts: parameters of `PromptsFromMask`.
        prompt_ensemble: see `ZeroShotSegmenter`.
        fusion: see `ZeroShotSegmenter`.
        threshold: see `ZeroShotSegmenter`.
        presence_threshold: see `ZeroShotSegmenter`.
        presence_scale: see `ZeroShotSegmenter`.
        tasks: for each task its settings, by names as in `with_settings`, and a "description".
        task: the task that the parameters are those of, see `for_task`.

    Raises:
        InputError: a parameter of another type or out of its range, one that its method does not take, or an unknown
            method.
    """

    name: str
    description: str
    clip: str
    sam: str
    saliency: Mapping[str, Any] = field(default_factory=lambda: {"method": "m2ib"})
    coarse: Mapping[str, Any] = field(default_factory=lambda: {"threshold": "otsu", "components": "confident"})
    prompts: Mapping[str, Any] = field(default_factory=lambda: {"boxes": "single"})
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    task: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for role, weights in (("clip", self.clip), ("sam", self.sam)):
            if not weights.strip():
                raise InputError(f"{role} must name weights, got {weights!r}")
        for group in GROUPS:
            check_group(group, getattr(self, group))

    @property
    def parameters(self) -> dict[str, Any]:
        """What a record says of the method: the task, and every parameter as it is with that task."""
        content = asdict(self)
        return {key: content[key] for key in content if key not in ("name", "description", "clip", "sam", "tasks")}

    def for_task(self, task: str | None) -> Preset:
        """The preset with a task's parameters; None leaves it as it is.

        Raises:
            InputError: if the preset has no such task.
        """
        if task is None:
            return self
        if task not in self.tasks:
            there = f"expected one of {', '.join(self.tasks)}" if self.tasks else "it has none: leave the task out"
            raise InputError(f"preset {self.name} has no task {task!r}; {there}")
        settings = {key: value for key, value in self.tasks[task].items() if key != "description"}
        return replace(self.with_settings(settings), task=task)

    def with_settings(self, settings: Mapping[str, Any]) -> Preset:
        """A preset with single parameters changed.

        Where a method is changed (saliency.method, coarse.threshold, coarse.components), the parameters that the
        preset has for the old one go with it.

        Args:
            settings: values by name, with a dot before a name inside a group: ``{"saliency.gamma": 2.0}``.

        Raises:
            InputError: if there is no such parameter, or it cannot have such a value.
        """
        check_value("settings", settings, Mapping)
        content = asdict(self)
        groups: dict[str, dict[str, Any]] = {}
        for key, value in settings.items():
            group, _, name = str(key).partition(".")
            if group not in content or group in _NOT_SETTINGS or isinstance(content[group], dict) != bool(name):
                raise InputError(f"unknown setting {key!r}; expected one such as saliency.gamma or threshold")
            if name:
                groups.setdefault(group, {})[name] = value
            else:
                content[group] = value
        changed = {group: changed_group(group, content[group], changes) for group, changes in groups.items()}
        return Preset(**{**content, **changed})

    def seed_settings(self, seed: int) -> dict[str, Any]:
        """The settings that give a seed to all that is random in this preset's methods."""
        names = ["prompts.seed"]
        if "seed" in accepted("saliency", self.saliency):
            names.append("saliency.seed")
        return dict.fromkeys(names, seed)


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
    path = _find(source)
    content = _content(path, ())
    known = {f.name for f in fields(Preset)} - {"name", "task"}
    unknown = sorted(content.keys() - known)
    missing = sorted({"description", "clip", "sam"} - content.keys())
    if unknown or missing:
        what = f"has an unknown key {unknown[0]!r}" if unknown else f"lacks {missing[0]!r}"
        raise InputError(f"preset {path} {what}; expected extends, {', '.join(sorted(known))}")
    _check_groups(path, content)
    try:
        preset = Preset(name=path.stem, **content)
    except InputError as error:
        raise InputError(f"preset {path}: {error}") from error
    for task in preset.tasks:
        try:
            preset.for_task(task)
        except InputError as error:
            raise InputError(f"preset {path}: tasks.{task}: {error}") from error
    return preset


def _find(source: str | Path) -> Path:
    if str(source) in preset_names():
        return PRESET_FOLDER / f"{source}.json"
    path = Path(str(source))
    if path.suffix != ".json" or not path.is_file():
        names = ", ".join(preset_names())
        raise InputError(f"unknown preset {str(source)!r}; expected one of {names}, or the path of a JSON file")
    return path


def _content(path: Path, extended: tuple[Path, ...]) -> dict[str, Any]:
    """A preset file's keys over those of the preset that it extends, if it does.

    Args:
        path: of the file.
        extended: the files that brought us here.
    """
    if path in extended:
        raise InputError(f"preset {path} extends itself: {' -> '.join(p.name for p in (*extended, path))}")
    content = read_object(path, what="preset")
    base = content.pop("extends", None)
    if base is None:
        return content
    found = _find(base if base in preset_names() else path.parent / str(base))
    return {**_content(found, (*extended, path)), **content}


def _check_groups(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse what is no object where one belongs: in the groups, in the tasks and in each task."""
    tasks = content.get("tasks", {})
    objects = {key: content[key] for key in (*GROUPS, "tasks") if key in content}
    if isinstance(tasks, dict):
        objects |= {f"tasks.{name}": settings for name, settings in tasks.items()}
    for key, value in objects.items():
        if not isinstance(value, dict):
            raise InputError(f"{key} in preset {path} must be a JSON object, got a {type(value).__name__}")
