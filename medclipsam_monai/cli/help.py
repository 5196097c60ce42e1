"""How the commands' help looks: -h beside --help, types in words, and flags by their names alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

_WORDS = {"<str>": "TEXT", "<list[str]>": "TEXT", "<path>": "PATH", "<int>": "NUMBER", "<int range>": "NUMBER"}


class _PlainTypes:
    """Names the types of options by words in the help of a command or a group, and hides those of flags."""

    def get_params(self, ctx: Any) -> list[Any]:
        """See click's `Command`."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            shown = param.display_type_rich(ctx) if hasattr(param, "display_type_rich") else None
            word = None if getattr(param, "is_flag", False) else _WORDS.get(str(shown).split(" [")[0], shown)
            param.display_type_rich = lambda ctx, word=word: word
        return params


class _Command(_PlainTypes, TyperCommand):
    pass


class _Group(_PlainTypes, TyperGroup):
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
