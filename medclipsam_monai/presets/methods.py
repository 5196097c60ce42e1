"""The methods that a preset names, and which parameters each takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from medclipsam_monai.errors import InputError
from medclipsam_monai.saliency.gradcam import GradCAM
from medclipsam_monai.saliency.gscorecam import GScoreCAM
from medclipsam_monai.saliency.m2ib import M2IB
from medclipsam_monai.saliency.method import SaliencyMethod
from medclipsam_monai.transforms import (
    CoarseMask,
    DenseCRF,
    FixedThreshold,
    KeepConfidentComponents,
    KeepLargestComponents,
    OtsuThreshold,
    TwoMeansThreshold,
)

# Every entry is a dataclass: its fields are the parameters.
SALIENCY_METHODS: dict[str, Callable[..., SaliencyMethod]] = {"m2ib": M2IB, "gscorecam": GScoreCAM, "gradcam": GradCAM}
THRESHOLDS: dict[str, Callable[..., Any]] = {"otsu": OtsuThreshold, "two_means": TwoMeansThreshold, "crf": DenseCRF}
COMPONENTS: dict[str, Callable[..., Any]] = {"confident": KeepConfidentComponents, "largest": KeepLargestComponents}
_CHOICES: dict[str, dict[str, Mapping[str, Callable[..., Any]]]] = {
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
        if isinstance(method, str) and method in table:
            names |= _parameters(table[method])
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
    options = dict(settings)
    threshold, components = options.pop("threshold", "otsu"), options.pop("components", None)
    if isinstance(threshold, int | float) and not isinstance(threshold, bool):
        chosen: Any = FixedThreshold(float(threshold))
    else:
        own = _parameters(THRESHOLDS.get(threshold)) if isinstance(threshold, str) else set()
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
    if not isinstance(name, str) or name not in table:
        raise InputError(f"{group}.{choice} must be one of {', '.join(table)}, got {name!r}")
    own = _parameters(table[name])
    unknown = sorted(options.keys() - own)
    if unknown:
        takes = f"takes {', '.join(sorted(own))}" if own else "has no parameters"
        raise InputError(f"{group}.{unknown[0]} does not belong to {group}.{choice}={name}, which {takes}")
    return checked(group, table[name], options)


def _parameters(method: Any) -> set[str]:
    return set() if method is None else {f.name for f in fields(method)}
