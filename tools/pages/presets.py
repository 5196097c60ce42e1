"""docs/reference/presets.md: the presets that ship, what each task changes, and every setting with its range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, get_args, get_type_hints

from medclipsam_monai.presets import DEFAULT_PRESET, Preset, load_preset, preset_names
from medclipsam_monai.presets.methods import COMPONENTS, GROUPS, SALIENCY_METHODS, THRESHOLDS, Method
from medclipsam_monai.presets.parameters import ExampleParameters, Parameters, PromptParameters
from medclipsam_monai.presets.settings import Settings
from tools.pages.tables import code, entries, table

HEAD = """# Presets and settings

A preset is a JSON file: which networks with which weights, and every parameter. `--preset` takes a name of this page
or a file of yours; a key `extends` in it names the preset that it changes. `--set NAME=VALUE` changes one setting,
`--task` takes the settings of one of the preset's tasks. [How to](../how-to/parameters.md).
"""
SETTINGS = "medclipsam_monai.presets.settings:Settings"
METHODS: Mapping[str, tuple[str, Mapping[str, Method]]] = {
    "saliency.method": ("saliency", SALIENCY_METHODS),
    "coarse.threshold": ("coarse", THRESHOLDS),
    "coarse.components": ("coarse", COMPONENTS),
}


def page() -> str:
    """The whole page."""
    presets = [load_preset(name) for name in preset_names()]
    parts = [HEAD, "## Presets\n", list_of(presets) + "\n", *(section for one in presets for section in of_preset(one))]
    return "\n".join([*parts, "## Settings\n", settings() + "\n", *groups()])


def list_of(presets: list[Preset]) -> str:
    """A line for each preset."""
    rows = (
        [f"[`{one.name}`](#{one.name})", one.description, f"`{one.clip}`", f"`{one.sam}`", one.licence]
        for one in presets
    )
    return table(["preset", "what", "CLIP", "segmenter", "licence of what ships"], rows)


def of_preset(preset: Preset) -> Iterator[str]:
    """What a preset sets that is no default, what its weights know, and its tasks."""
    yield f"### {preset.name}\n"
    yield f"{preset.description}{' It runs where no preset is named.' if preset.name == DEFAULT_PRESET else ''}\n"
    if preset.knows:
        yield table(["kind of picture", "targets"], ([kind, ", ".join(known)] for kind, known in preset.knows.items()))
        yield ""
    changed = {name: value for name, value in flat(preset.settings).items() if value != flat(Settings()).get(name)}
    listed = {"encoder": preset.encoder, "segmenter": preset.segmenter} | changed
    yield table(["setting", "value"], ([f"`{name}`", code_of(value)] for name, value in listed.items())) + "\n"
    if preset.tasks:
        yield table(["task", "what", "settings"], map(task_row, preset.tasks, preset.tasks.values())) + "\n"


def task_row(task: str, values: Mapping[str, Any]) -> list[str]:
    """The line of a task."""
    changes = [f"`{name}` {code_of(value)}" for name, value in values.items() if name != "description"]
    return [f"`{task}`", str(values.get("description", "")), ", ".join(changes)]


def code_of(value: Any) -> str:
    """A value of a setting; none is written out."""
    return "none" if value is None else code(value)


def flat(settings: Settings) -> dict[str, Any]:
    """Settings by the names that ``--set`` takes."""
    values = settings.values
    plain = {name: value for name, value in values.items() if name not in GROUPS}
    return plain | {f"{group}.{name}": value for group in GROUPS for name, value in values[group].items()}


def settings() -> str:
    """The settings that are in no group."""
    return parameters(Settings, "", entries(SETTINGS), [one for one in fields(Settings) if one.name not in GROUPS])


def groups() -> Iterator[str]:
    """The settings of each group, method by method."""
    said = entries(SETTINGS)
    for choice, (group, methods) in METHODS.items():
        yield f"### {choice}\n"
        yield f"{', '.join(f'`{name}`' for name in methods)}. In a preset the group `{group}` holds {said[group]}\n"
        for name, method in methods.items():
            if fields(method.parameters):
                yield f"With `{name}`:\n"
                yield parameters(method.parameters, f"{group}.", entries(method.path)) + "\n"
    for group, table_of, path in (
        ("prompts", PromptParameters, "medclipsam_monai.transforms.prompts:PromptsFromMask"),
        ("examples", ExampleParameters, "medclipsam_monai.presets.parameters:ExampleParameters"),
    ):
        yield f"### {group}\n"
        yield parameters(table_of, f"{group}.", entries(path)) + "\n"


def parameters(
    declared: type[Parameters], prefix: str, said: Mapping[str, str], chosen: list[Field[Any]] | None = None
) -> str:
    """A line for each field of a dataclass: name, default, what it may be, and what it means."""
    hints = get_type_hints(declared)
    rows = (
        [f"`{prefix}{one.name}`", code_of(default(one)), allowed(one, hints[one.name]), said[one.name]]
        for one in chosen or fields(declared)
    )
    return table(["setting", "default", "may be", "meaning"], rows)


def default(one: Field[Any]) -> Any:
    """A field's default."""
    return one.default if one.default is not MISSING else None


def allowed(one: Field[Any], hint: Any) -> str:
    """The words or the range of numbers that a field takes."""
    if "range" in one.metadata:
        return str(one.metadata["range"]).strip()
    literal = [value for part in (hint, *get_args(hint)) for value in get_args(part) if isinstance(value, str)]
    return ", ".join(f"`{value}`" for value in dict.fromkeys(literal)) or ("true, false" if hint is bool else "")
