"""docs/reference/cli.md: every command with its arguments and options, from the program itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from medclipsam_monai.cli.app import app
from tools.pages.tables import cell, code, table

HEAD = """# Commands

What `medclipsam --help` and the help of each command say. Exit codes: 0 all done, 2 a command or an image is at
fault, 1 an internal error (`--debug` shows where), 130 Ctrl-C.

Completion of a shell: `medclipsam --install-completion`.
"""


def page() -> str:
    """The whole page."""
    program: Any = typer.main.get_command(app)
    return "\n".join([HEAD, *commands(program, "medclipsam")])


def commands(command: Any, name: str) -> Iterator[str]:
    """Sections of a command and of those below it, in the order of the help."""
    below = getattr(command, "commands", {})
    yield f"{'#' * (len(name.split()) + 1)} {name}\n"
    yield f"{words(command.help)}\n"
    if not below:
        yield f"```text\n{usage(command, name)}\n```\n"
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and "completion" not in one.name]
    if arguments:
        yield table(["argument", "what it is"], ([f"`{shown(one)}`", said(one)] for one in arguments)) + "\n"
    if options:
        yield table(["option", "default", "what it does"], map(option_row, options)) + "\n"
    for word, one in below.items():
        yield from commands(one, f"{name} {word}")


def words(text: str | None) -> str:
    """A help's paragraphs, each on one line."""
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


def usage(command: Any, name: str) -> str:
    """How a command is written: its arguments, and the options that it must have."""
    needed = [
        f"{longest(one)} {metavar(one)}" for one in command.params if one.param_type_name == "option" and one.required
    ]
    given = [shown(one) for one in command.params if one.param_type_name == "argument"]
    return " ".join([name, *given, *needed, "[OPTIONS]"])


def shown(argument: Any) -> str:
    """An argument as usage lines write it."""
    word = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return word if argument.required else f"[{word}]"


def said(parameter: Any) -> str:
    """Its help."""
    return cell(parameter.help or "")


def longest(option: Any) -> str:
    """Its long name."""
    return str(max(option.opts, key=len))


def metavar(option: Any) -> str:
    """The word that stands for an option's value."""
    return str(option.name.strip("_").upper())


def option_row(option: Any) -> list[str]:
    """The line of an option: its names, its default, its help and its variable."""
    names = ", ".join(f"`{one}`" for one in [*option.opts, *option.secondary_opts])
    flag = getattr(option, "is_flag", False)
    default = "must be given" if option.required else "" if flag and not option.default else code(default_of(option))
    variable = f" Variable: `{option.envvar}`." if option.envvar else ""
    return [names, default, said(option) + variable]


def default_of(option: Any) -> Any:
    """An option's default; a callable one is worked out when the command runs, and is none here."""
    return None if callable(option.default) else "on" if option.default is True else option.default
