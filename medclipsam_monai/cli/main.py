"""The entry point of the command line: the commands are in ``cli_app``, and their errors end here, in one line each.

Exit codes: 0 done, 1 an internal error, 2 the user's input is at fault, or an image in a batch failed, 130 Ctrl-C.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from io import TextIOWrapper
from itertools import pairwise

from medclipsam_monai.base.errors import InputError, plain_reason
from medclipsam_monai.base.interrupts import one_line_on_interrupt

_TEXTS = ("--text", "-t", "--opposite")


def main() -> None:
    """Run ``medclipsam`` with the words of the command line; ``--debug`` may stand anywhere among them."""
    _never_fail_on_a_name()
    words = sys.argv[1:]
    ours = words[: words.index("--")] if "--" in words else words
    debug = "--debug" in ours
    words = [word for word in ours if word != "--debug"] + words[len(ours) :]
    with one_line_on_interrupt(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what libraries tell their developers
        warnings.showwarning = _show_warning
        try:
            from typer.main import get_command

            from medclipsam_monai.cli.app import app

            refuse_empty(words)
            get_command(app)(words, prog_name="medclipsam", obj=debug)
        except Exception as error:
            if debug and not isinstance(error, InputError):
                raise
            print(f"medclipsam: {plain_reason(error)}", file=sys.stderr)
            sys.exit(2 if isinstance(error, InputError) else 1)


def refuse_empty(words: list[str]) -> None:
    """Refuse empty words: they come from shell variables that are not set, and would stand for a default or a folder.

    Raises:
        InputError: with the option that the word belongs to.
    """
    for before, word in pairwise(["", *words]):
        option, equals, value = word.partition("=")
        if word.strip() and not (option.startswith("--") and equals and not value.strip()):
            continue
        name = option.strip() or (before if before.startswith("-") else "")
        if name in _TEXTS:  # parse_targets says more
            continue
        raise InputError(f"{name or 'an argument'} is empty; give a value or leave it out")


def _never_fail_on_a_name() -> None:
    """A file's name may hold what the screen's encoding cannot: it is shown escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            with contextlib.suppress(ValueError, OSError):
                stream.reconfigure(errors="backslashreplace")


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """What this package warns about an input is one line; what libraries warn is for their developers."""
    from medclipsam_monai.base.errors import InputWarning

    if issubclass(category, InputWarning):
        print(f"note     {' '.join(str(message).split())}")
