"""How the commands' help looks."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class PlainCommand(TyperCommand):
    """A command whose help shows flags by their names alone, without a type: they take no value."""

    def format_help(self, *args: Any) -> None:
        """See `TyperCommand`."""
        for param in self.params:
            if getattr(param, "is_flag", False):
                setattr(param, "display_type_rich", lambda ctx: None)  # noqa: B010
        super().format_help(*args)
