"""The entry point of the command line: the commands are in ``cli_app``, and their errors end here, in one line each.

Exit codes: 0 done, 1 an internal error, 2 the user's input is at fault, or an image in a batch failed, 130 Ctrl-C.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from io import TextIOWrapper

from medclipsam_monai.errors import InputError, plain_reason
from medclipsam_monai.interrupts import one_line_on_interrupt


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
            from medclipsam_monai.cli_app import app

            app(words, prog_name="medclipsam", obj={"debug": debug})
        except Exception as error:
            if debug and not isinstance(error, InputError):
                raise
            print(f"medclipsam: {plain_reason(error)}", file=sys.stderr)
            sys.exit(2 if isinstance(error, InputError) else 1)


def _never_fail_on_a_name() -> None:
    """A file's name may hold what the screen's encoding cannot: it is shown escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            with contextlib.suppress(ValueError, OSError):
                stream.reconfigure(errors="backslashreplace")


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """What this package warns about an input is one line; what libraries warn is for their developers."""
    from medclipsam_monai.io.guard import InputWarning

    if issubclass(category, InputWarning):
        print(f"note     {' '.join(str(message).split())}")
