"""The methods that a preset names, and which parameters each takes.

Methods are named by path and imported when asked for: reading and checking a preset loads no model code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pkgutil import resolve_name
from typing import Any, Literal, TypeGuard

from medclipsam_monai.base.checked_fields import Range, check_options, check_value, shown
from medclipsam_monai.base.errors import InputError
from medclipsam_monai.presets.parameters import (
    ConfidentParameters,
    CRFParameters,
    ExampleParameters,
    GScoreCAMParameters,
    LargestParameters,
    M2IBParameters,
    NoParameters,
    OtsuParameters,
    Parameters,
    PromptParameters,
)


@dataclass(frozen=True)
class Method:
    """A method that a preset may name.

    Attributes:
        path: of its class, which is imported when a network is built.
        parameters: the dataclass that declares its parameters.
    """

    path: str
    parameters: type[Parameters]


SALIENCY_METHODS = {
    "m2ib": Method("medclipsam_monai.saliency.m2ib:M2IB", M2IBParameters),
    "gscorecam": Method("medclipsam_monai.saliency.gscorecam:GScoreCAM", GScoreCAMParameters),
    "gradcam": Method("medclipsam_monai.saliency.gradcam:GradCAM", NoParameters),
}
THRESHOLDS = {
    "otsu": Method("medclipsam_monai.transforms.coarse:OtsuThreshold", OtsuParameters),
    "two_means": Method("medclipsam_monai.transforms.coarse:TwoMeansThreshold", NoParameters),
    "crf": Method("medclipsam_monai.transforms.dense_crf:DenseCRF", CRFParameters),
}
COMPONENTS = {
    "confident": Method("medclipsam_monai.transforms.components:KeepConfidentComponents", ConfidentParameters),
    "largest": Method("medclipsam_monai.transforms.components:KeepLargestComponents", LargestParameters),
}
_CHOICES: dict[str, dict[str, Mapping[str, Method]]] = {
    "saliency": {"method": SALIENCY_METHODS},
    "coarse": {"threshold": THRESHOLDS, "components": COMPONENTS},
}
GROUPS = ("saliency", "coarse", "prompts", "examples")


def changed_group(group: str, settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A preset's group with some parameters changed; where a method changes, the old one's parameters go.

    Args:
        group: name of the group.
        settings: the group as it is.
        changes: what is asked for; all of it is kept, fitting or not, so that a mistake is not passed over.
    """
    merged = {**settings, **changes}
    if all(merged.get(choice) == settings.get(choice) for choice in _CHOICES.get(group, ())):
        return merged
    known = accepted(group, merged)
    return {name: value for name, value in merged.items() if name in changes or name in known}


def accepted(group: str, settings: Mapping[str, Any]) -> set[str]:
    """Names that a group of choices ("saliency", "coarse") takes with the methods it names."""
    names = set(_CHOICES[group])
    for choice, table in _CHOICES[group].items():
        method = settings.get(choice)
        if _is_one_of(method, table):
            names |= _names(table[method])
    return names


def check_group(group: str, settings: Mapping[str, Any]) -> None:
    """Check a whole group of a preset: the methods it names, and the names, types and ranges of their parameters.

    Raises:
        InputError: the first setting that cannot be, by the name that a user gives it, such as "saliency.layer".
    """
    options = dict(settings)
    if group == "prompts":
        check_parameters(PromptParameters, options, group)
    elif group == "examples":
        check_parameters(ExampleParameters, options, group)
    elif group == "saliency":
        _check_method(group, "method", options.pop("method", None), options)
    else:
        split_coarse(options)


def check_parameters(parameters: type[Parameters], options: Mapping[str, Any], group: str) -> None:
    """Check the parameters of what there is only one method of.

    Raises:
        InputError: the first that cannot be, by the name that a user gives it, such as "prompts.points".
    """
    known = [one.name for one in fields(parameters)]
    unknown = sorted(options.keys() - set(known), key=str)
    if unknown:
        listed = ", ".join(known)
        raise InputError(f"{group}.{unknown[0]} is no parameter of the {group}, which take {listed}")
    check_options(parameters, options, f"{group}.")
    parameters(**options)


def checked(group: str, make: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """``make(**options)``, with what it refuses named as the user's setting."""
    try:
        return make(**options)
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).split("__init__() ")[-1]
        raise InputError(f"{group}: {reason}") from error


def split_coarse(options: dict[str, Any]) -> tuple[Any, dict[str, Any], Any, dict[str, Any]]:
    """A preset's "coarse" group in four parts: the threshold and its parameters, the components and theirs.

    Args:
        options: the group; its keys are taken out.

    Raises:
        InputError: for a threshold, a choice of components or a parameter that is not known.
    """
    threshold, components = options.pop("threshold", "otsu"), options.pop("components", None)
    own: dict[str, Any] = {}
    if isinstance(threshold, int | float) and not isinstance(threshold, bool):
        check_value("coarse.threshold", threshold, Literal["otsu", "two_means", "crf"] | float, Range(0, 1))
    else:
        names = _names(THRESHOLDS[threshold]) if _is_one_of(threshold, THRESHOLDS) else set()
        own = {name: options.pop(name) for name in names & options.keys()}
        _check_method("coarse", "threshold", threshold, own, " or a number from 0 to 1")
    if components is not None:
        _check_method("coarse", "components", components, options)
    elif options:
        raise InputError(f"coarse.{min(options, key=str)} needs coarse.components, one of {', '.join(COMPONENTS)}")
    return threshold, own, components, options


def _check_method(group: str, choice: str, name: Any, options: Mapping[str, Any], also: str = "") -> Method:
    """The method of a group that a choice names, its parameters checked."""
    table = _CHOICES[group][choice]
    if not _is_one_of(name, table):
        raise InputError(f"{group}.{choice} must be one of {', '.join(table)}{also}, got {shown(name)}")
    own = _names(table[name])
    unknown = sorted(options.keys() - own, key=str)
    if unknown:
        takes = f"takes {', '.join(sorted(own))}" if own else "has no parameters"
        raise InputError(f"{group}.{unknown[0]} does not belong to {group}.{choice}={name}, which {takes}")
    check_options(table[name].parameters, options, f"{group}.")
    return table[name]


def make_method(group: str, choice: str, name: Any, options: Mapping[str, Any]) -> Any:
    """The method of a group that a choice names, made with its parameters.

    Args:
        group: "saliency" or "coarse".
        choice: "method", "threshold" or "components".
        name: of the method, in the choice's table.
        options: its parameters.

    Raises:
        InputError: for a method that is not known, or a parameter that is none of its own.
    """
    method = _check_method(group, choice, name, options)
    return checked(group, resolve_name(method.path), options)


def _is_one_of(name: Any, table: Mapping[str, Method]) -> TypeGuard[str]:
    return isinstance(name, str) and name in table


def _names(method: Method) -> set[str]:
    return {one.name for one in fields(method.parameters)}
