"""The methods that a preset names, and which parameters each takes.

Methods are named by path and imported when asked for: reading a preset loads no model code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, TypeGuard

from medclipsam_monai.errors import InputError

if TYPE_CHECKING:
    from medclipsam_monai.saliency.method import SaliencyMethod
    from medclipsam_monai.transforms import CoarseMask

# Every entry is a dataclass: its fields are the parameters.
SALIENCY_METHODS = {
    "m2ib": "medclipsam_monai.saliency.m2ib:M2IB",
    "gscorecam": "medclipsam_monai.saliency.gscorecam:GScoreCAM",
    "gradcam": "medclipsam_monai.saliency.gradcam:GradCAM",
}
THRESHOLDS = {
    "otsu": "medclipsam_monai.transforms.coarse:OtsuThreshold",
    "two_means": "medclipsam_monai.transforms.coarse:TwoMeansThreshold",
    "crf": "medclipsam_monai.transforms.dense_crf:DenseCRF",
}
COMPONENTS = {
    "confident": "medclipsam_monai.transforms.components:KeepConfidentComponents",
    "largest": "medclipsam_monai.transforms.components:KeepLargestComponents",
}
_CHOICES: dict[str, dict[str, Mapping[str, str]]] = {
    "saliency": {"method": SALIENCY_METHODS},
    "coarse": {"threshold": THRESHOLDS, "components": COMPONENTS},
}


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
            names |= _parameters(resolve_name(table[method]))
    return names


def make_saliency(settings: Mapping[str, Any]) -> SaliencyMethod:
    """The saliency method of a preset's "saliency" group.

    Raises:
        InputError: for a method that is not known, or a parameter that is none of its own.
    """
    options = dict(settings)
    return _made("saliency", "method", options.pop("method", None), options)


def make_coarse(settings: Mapping[str, Any]) -> CoarseMask:
    """The coarse mask's transform from a preset's "coarse" group.

    Raises:
        InputError: for a threshold, a choice of components or a parameter that is not known.
    """
    from medclipsam_monai.transforms import CoarseMask, FixedThreshold

    options = dict(settings)
    threshold, components = options.pop("threshold", "otsu"), options.pop("components", None)
    if isinstance(threshold, int | float) and not isinstance(threshold, bool):
        chosen: Any = FixedThreshold(float(threshold))
    else:
        own = _parameters(resolve_name(THRESHOLDS[threshold])) if _is_one_of(threshold, THRESHOLDS) else set()
        chosen = _made("coarse", "threshold", threshold, {k: options.pop(k) for k in own & options.keys()})
    if components is None:
        if options:
            raise InputError(f"coarse.{min(options)} needs coarse.components, one of {', '.join(COMPONENTS)}")
        return CoarseMask(chosen, None)
    return CoarseMask(chosen, _made("coarse", "components", components, options))


def checked(group: str, make: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """``make(**options)``, with what it refuses named as the user's setting."""
    try:
        return make(**options)
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).split("__init__() ")[-1]
        raise InputError(f"{group}: {reason}") from error


def _made(group: str, choice: str, name: Any, options: Mapping[str, Any]) -> Any:
    """The method of a group that a choice names, made with its parameters."""
    table = _CHOICES[group][choice]
    if not _is_one_of(name, table):
        raise InputError(f"{group}.{choice} must be one of {', '.join(table)}, got {name!r}")
    method = resolve_name(table[name])
    own = _parameters(method)
    unknown = sorted(options.keys() - own)
    if unknown:
        takes = f"takes {', '.join(sorted(own))}" if own else "has no parameters"
        raise InputError(f"{group}.{unknown[0]} does not belong to {group}.{choice}={name}, which {takes}")
    return checked(group, method, options)


def _is_one_of(name: Any, table: Mapping[str, str]) -> TypeGuard[str]:
    return isinstance(name, str) and name in table


def _parameters(method: Any) -> set[str]:
    return {f.name for f in fields(method)}
