"""What a client may set with a request: read from its JSON, checked, and given the defaults that the client showed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from medclipsam_monai.base.checked_fields import Range, check_value, shown
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.io import SLICE_AXES
from medclipsam_monai.presets import preset_names
from medclipsam_monai.presets.methods import SALIENCY_METHODS
from medclipsam_monai.prompts import TextTarget, parse_targets
from medclipsam_monai.transforms import parse_window

PROCESS_OPTIONS = ("model", "client_id", "device", "gpus", "multi_gpu", "local_rank")
"""What MONAI Label and its viewers add to the options of a training or scoring."""
_NEAR = 0.8  # a share of equal letters
PRESET_METHOD = "preset"
"""The saliency method that the preset names, with its parameters."""
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")


def option(request: Mapping[str, Any], name: str, default: Any) -> Any:
    """A request's value, or the default; of a list, as where a client sends back the choices, the first."""
    value = request.get(name, default)
    if isinstance(value, list) and name != "text":
        value = value[0] if value else default
    return default if value is None else value


def number_option(request: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    """A number, also one written as text.

    Raises:
        InputError: no number, or one outside [low, high].
    """
    value = _read(option(request, name, default), float)
    check_value(name, value, float, Range(low, high))
    return float(value)


def whole_option(request: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    """A whole number, also one written as text.

    Raises:
        InputError: no whole number, or one outside [low, high].
    """
    value = _read(option(request, name, default), int)
    check_value(name, value, int, Range(low, high))
    return int(value)


def _read(value: Any, kind: Callable[[str], float]) -> Any:
    """A number that is written as text, as which viewers send it; anything else as it came."""
    try:
        return kind(value) if isinstance(value, str) else value
    except ValueError:
        return value


def flag_option(request: Mapping[str, Any], name: str, default: bool) -> bool:
    """True or false, also written as text.

    Raises:
        InputError: anything else.
    """
    value = option(request, name, default)
    word = str(value).strip().lower()
    if word not in (*_TRUE, *_FALSE):
        raise InputError(f"{name} must be true or false, got {shown(value)}")
    return word in _TRUE


def choice_option(request: Mapping[str, Any], name: str, choices: list[str]) -> str:
    """One of the choices, by default the first.

    Raises:
        InputError: another one.
    """
    value = option(request, name, choices[0])
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}, got {shown(value)}")
    return str(value)


def refuse_misspelt(request: Mapping[str, Any], names: Collection[str]) -> None:
    """Refuse what is nearly the name of an option, whose default would be taken without a word.

    Viewers send much else that is read by nobody here, so that only these are refused.

    Raises:
        InputError: such a name.
    """
    for name in request:
        near = get_close_matches(name, names, 1, _NEAR) if name not in names else []
        if near:
            raise InputError(f"there is no option {shown(name)}; did you mean {near[0]}?")


def refuse_unknown(request: Mapping[str, Any], names: Collection[str], also: Collection[str] = PROCESS_OPTIONS) -> None:
    """Refuse names that are no option of a task.

    Args:
        request: options as they came.
        names: of the options.
        also: names that may stand there besides, by default those of a training or scoring.

    Raises:
        InputError: any other name.
    """
    for name in request:
        if name not in names and name not in also:
            raise InputError(f"there is no option {shown(name)}; expected one of {', '.join(names)}")


def split_texts(text: Any) -> Any:
    """ "lungs; heart" as ["lungs", "heart"], since clients show one line for the text; all else as it is."""
    if not isinstance(text, str):
        return text
    return [part.strip() for part in text.split(";") if part.strip()]


@dataclass(frozen=True)
class TextOptions:
    """The options of a text-prompted request.

    Attributes:
        targets: the classes.
        preset: name of weights and parameters.
        method: saliency method, None for the preset's.
        threshold: of the probability, in [0, 1].
        largest_component: keep of each class its largest component only.
        window: how intensities become grey levels, see `DisplayRange`.
        slice_axis: how volumes are cut.
        examples: let labelled examples of a class show where it is, see `ServedExamples`.
    """

    targets: tuple[TextTarget, ...]
    preset: str
    method: str | None
    threshold: float
    largest_component: bool
    window: str | None
    slice_axis: str
    examples: bool


def text_config(text: str, presets: list[str], examples: bool = False) -> dict[str, Any]:
    """The options that a client shows, with their defaults: a list is a choice, its first entry the default."""
    return {
        "text": text,
        "opposites": "",
        "preset": presets,
        "method": [PRESET_METHOD, *SALIENCY_METHODS],
        "threshold": 0.5,
        "largest_component": False,
        "window": "",
        "slice_axis": list(SLICE_AXES),
        "examples": examples,
    }


def preset_choices(first: str) -> list[str]:
    """The presets to choose from, the default first; it may be the path of a JSON file."""
    return [first, *(name for name in preset_names() if name != first)]


def read_text_options(request: Mapping[str, Any], config: Mapping[str, Any], text: Any = None) -> TextOptions:
    """The options of a request.

    Args:
        request: what came over HTTP.
        config: the task's, see `text_config`.
        text: the classes, where they are not the request's "text".

    Raises:
        InputError: a value that cannot be used, a text that is empty or names no class.
    """
    wanted = option(request, "text", config["text"]) if text is None else text
    window = str(option(request, "window", config["window"])).strip()
    if window:
        parse_window(window)
    method = choice_option(request, "method", config["method"])
    opposites = split_texts(option(request, "opposites", config["opposites"]))
    return TextOptions(
        targets=parse_targets(split_texts(wanted), opposites),
        preset=choice_option(request, "preset", config["preset"]),
        method=None if method == PRESET_METHOD else method,
        threshold=number_option(request, "threshold", config["threshold"], 0, 1),
        largest_component=flag_option(request, "largest_component", config["largest_component"]),
        window=window or None,
        slice_axis=choice_option(request, "slice_axis", config["slice_axis"]),
        examples=flag_option(request, "examples", config["examples"]),
    )
