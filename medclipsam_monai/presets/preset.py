"""A preset is data: the weights to load and every parameter of the zero-shot chain, and what differs for a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from medclipsam_monai.base.checked_fields import check, check_value, number, shown
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object
from medclipsam_monai.presets.methods import GROUPS, check_parameters
from medclipsam_monai.presets.networks import ENCODERS, SEGMENTERS
from medclipsam_monai.presets.parameters import PresenceParameters
from medclipsam_monai.presets.settings import Settings

DEFAULT_PRESET = "small"
"""Runs where no preset is named: in command line, facade, label server, deploy app, and bundles that take a text."""
PRESET_FOLDER = Path(__file__).parent
_OF_WEIGHTS: Mapping[str, Any] = {
    "licence": "",
    "knows": {},
    "stranger_below": 0.0,
    "known_pictures": "",
    "presence": {},
    "slice_presence": {},
}
"""What is said of weights, as nobody has said it of others."""
_NETWORKS = ("clip", "sam", "encoder", "segmenter")
_SETTINGS = {one.name for one in fields(Settings)}


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Everything that decides a result but the image and the text; every value is checked when it is made.

    Attributes:
        name: the file's stem.
        description: one line.
        clip: weights of the text-image encoder, see `medclipsam_monai.weights.registry.resolve`.
        sam: weights of the promptable segmenter, likewise.
        encoder: which kind of text-image encoder, one of `ENCODERS`.
        segmenter: which kind of promptable segmenter, one of `SEGMENTERS`.
        settings: every parameter; in the file each is a key beside the others.
        licence: SPDX identifier of weights that ship with the package; empty for others.
        knows: for each kind of picture the targets that the weights were trained on; empty if nobody listed them.
        stranger_below: similarity to all of them under which a text is strange to the weights, see `KnownTexts`.
        known_pictures: file of what the pictures look like that the weights were trained on, see `KnownPictures` and
            `medclipsam_monai.weights.registry.resolve`; empty if there is none.
        presence: parameters of `CalibratedPresence`, which decides whether a picture shows what is asked; empty: a
            class without opposites is taken to be there.
        slice_presence: the same for slices of volumes, of which fewer show what is asked, and what is near it in its
            place; empty: as for pictures.
        tasks: for each task the settings that differ, by names as in `Settings.replace`, and a "description".
        task: the task that the settings are those of, see `for_task`.

    Raises:
        InputError: a value of another type, an unknown kind of network, or no name of weights.
    """

    name: str
    description: str
    clip: str
    sam: str
    encoder: str = "clip"
    segmenter: str = "sam"
    licence: str = ""
    knows: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stranger_below: float = number(0.0, -1, 1)
    known_pictures: str = ""
    presence: Mapping[str, float] = field(default_factory=dict)
    slice_presence: Mapping[str, float] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    task: str | None = None

    def __post_init__(self) -> None:
        check(self)
        for role, weights in (("clip", self.clip), ("sam", self.sam)):
            if not weights.strip():
                raise InputError(f"{role} must name weights, got {weights!r}")
        if self.known_pictures and not self.knows:
            raise InputError("known_pictures needs knows: what the weights know on each kind of picture")
        if self.presence and not self.knows:
            raise InputError("presence needs knows: what else a picture may show")
        if self.slice_presence and not self.presence:
            raise InputError("slice_presence needs presence: how a picture is known to show what is asked")
        for role, factors in (("presence", self.presence), ("slice_presence", self.slice_presence)):
            check_parameters(PresenceParameters, factors, role)
        for role, kind, kinds in (("encoder", self.encoder, ENCODERS), ("segmenter", self.segmenter, SEGMENTERS)):
            if kind not in kinds:
                raise InputError(f"{role} must be one of {', '.join(kinds)}, got {shown(kind)}")

    @property
    def parameters(self) -> dict[str, Any]:
        """What a record says of the method: all settings as with the task, the task, and what is of the networks.

        The factors of the presence are among it: what was finished with others is done again.
        """
        presence = {"presence": dict(self.presence), "slice_presence": dict(self.slice_presence)}
        networks = {"encoder": self.encoder, "segmenter": self.segmenter, **presence}
        return {**self.settings.values, "task": self.task, **networks}

    def for_task(self, task: str | None) -> Preset:
        """The preset with a task's settings; None leaves it as it is.

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

    def with_settings(self, changes: Mapping[str, Any]) -> Preset:
        """A preset with single settings changed, see `Settings.replace`, or the networks and their weights.

        Raises:
            InputError: if there is no such setting, or it cannot have such a value.
        """
        check_value("settings", changes, Mapping)
        networks = {name: value for name, value in changes.items() if name in _NETWORKS}
        settings = {name: value for name, value in changes.items() if name not in networks}
        if networks.get("clip", self.clip) != self.clip:
            networks |= _OF_WEIGHTS
        return replace(self, settings=self.settings.replace(settings), **networks)


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
    known = {f.name for f in fields(Preset)} - {"name", "task", "settings"} | _SETTINGS
    unknown = sorted(content.keys() - known)
    missing = sorted({"description", "clip", "sam"} - content.keys())
    if unknown or missing:
        what = f"has an unknown key {unknown[0]!r}" if unknown else f"lacks {missing[0]!r}"
        raise InputError(f"preset {path} {what}; expected extends, {', '.join(sorted(known))}")
    _check_groups(path, content)
    try:
        settings = Settings(**{key: value for key, value in content.items() if key in _SETTINGS})
        rest = {key: value for key, value in content.items() if key not in _SETTINGS}
        preset = Preset(name=path.stem, settings=settings, **rest)
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
    inherited = _content(found, (*extended, path))
    if "clip" in content:  # what other weights know, and their licence, says nothing of these
        inherited = {key: value for key, value in inherited.items() if key not in _OF_WEIGHTS}
    return {**inherited, **content}


def _check_groups(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse what is no object where one belongs: in the groups, in the tasks and in each task."""
    tasks = content.get("tasks", {})
    objects = {key: content[key] for key in (*GROUPS, "tasks") if key in content}
    if isinstance(tasks, dict):
        objects |= {f"tasks.{name}": settings for name, settings in tasks.items()}
    for key, value in objects.items():
        if not isinstance(value, dict):
            raise InputError(f"{key} in preset {path} must be a JSON object, got a {type(value).__name__}")
