"""How the commands' help looks: -h beside --help, and flags by their names alone, for they take no value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class _PlainFlags:
    """Hides the type of flags in the help of a command or a group."""

    def get_params(self, ctx: Any) -> list[Any]:
        """See click's `Command`."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False):
                param.display_type_rich = lambda ctx: None
        return params


class _Command(_PlainFlags, TyperCommand):
    pass


class _Group(_PlainFlags, TyperGroup):
    pass


class Commands(typer.Typer):
    """A group of commands with a plain help, which it shows where no command is given; see `typer.Typer`."""

    def __init__(self, **options: Any) -> None:
        settings = {"help_option_names": ["-h", "--help"]}
        super().__init__(
            cls=_Group, no_args_is_help=True, pretty_exceptions_enable=False, context_settings=settings, **options
        )

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """See `typer.Typer.command`."""
        return super().command(name, cls=_Command, **options)
