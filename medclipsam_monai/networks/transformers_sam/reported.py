"""What transformers and torch say of settings that describe no network, as one line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.quiet import silenced


@contextmanager
def reported(where: str) -> Iterator[None]:
    """Errors within as an `InputError` that names the file; remarks are dropped."""
    try:
        with silenced(("transformers", "timm"), logging.WARNING, dropped=(Warning,)):
            yield
    except InputError:
        raise
    except Exception as error:  # sizes that do not belong together fail in any way there is
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise InputError(f"{where} describes no network that works: {reason}") from error
