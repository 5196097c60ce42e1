"""The one exception that stands for a mistake the user can mend."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line that says what was wrong and what would be right. The command line prints it alone and
    exits with code 2; any other exception there is a bug.
    """
