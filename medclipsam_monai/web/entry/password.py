"""The password of a page that others can reach: where it comes from, and how it is compared."""

from __future__ import annotations

import getpass
import hmac
import os
import sys
from pathlib import Path

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.web.entry.hosts import is_loopback

PASSWORD_VARIABLE = "MEDCLIPSAM_WEB_PASSWORD"
SHORTEST = 8


def find_password(host: str, file: Path | None = None) -> str | None:
    """The password for a host: a file's first line, else the environment's, else what is typed in a terminal.

    Args:
        host: to listen on; one that only this machine reaches needs none, but may have one.
        file: that holds it.

    Raises:
        InputError: none for a host that others reach, one that is too short, or a file that cannot be read.
    """
    try:
        lines = [] if file is None else file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--password-file {file}: cannot be read") from error
    if file is not None and not lines:
        raise InputError(f"--password-file {file}: is empty")
    found = lines[0] if lines else os.environ.get(PASSWORD_VARIABLE, "")
    if not found and is_loopback(host):
        return None
    if not found and sys.stdin.isatty():
        found = getpass.getpass("Password for the page: ")
    if len(found) < SHORTEST:
        raise InputError(
            f"others can reach {host}, so the page needs a password of at least {SHORTEST} letters: set "
            f"{PASSWORD_VARIABLE} or give --password-file"
        )
    return found


def same_password(given: str, password: str) -> bool:
    """Whether a password is right; takes as long for any wrong one."""
    return hmac.compare_digest(given.encode(), password.encode())
