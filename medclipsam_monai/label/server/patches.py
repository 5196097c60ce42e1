"""Puts functions in front of MONAI Label's own, or in their place, where it offers no other way.

Its routes call functions of their modules by name, so that these may be exchanged while the app is made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any


def replaced(module: ModuleType, name: str, function: Callable[..., Any]) -> None:
    """Let a function of a module be another one; the arguments stay."""
    setattr(module, name, wraps(_own(module, name))(_copy(function)))


def checked_first(module: ModuleType, name: str, check: Callable[..., object]) -> None:
    """Let ``check`` see the arguments of a module's function before it runs; what it raises ends the request."""
    original = _own(module, name)

    def checked(*args: Any, **kwargs: Any) -> Any:
        check(*args, **kwargs)
        return original(*args, **kwargs)

    setattr(module, name, wraps(original)(checked))


def _own(module: ModuleType, name: str) -> Any:
    """The module's own function, also where an app of this process exchanged it before."""
    found = getattr(module, name)
    return getattr(found, "__wrapped__", found)


def _copy(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call
