"""What the command shares with every application of the App SDK: ``-m``, ``-w``, ``-l`` and a container's variables.

They mean what `monai.deploy.core.arg_parser` says: a model folder that exists, a working folder that is made where it
is missing, and a level of the log. None of this needs the SDK.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import check_writable
from medclipsam_monai.deploy.bundle_folder import bundle_in

MODEL_PATH, WORKDIR = "HOLOSCAN_MODEL_PATH", "HOLOSCAN_WORKDIR"
LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "CRITICAL")
_SILENT = logging.CRITICAL + 1
_QUOTING = ("pydicom", "highdicom")  # they log values of headers, which name the patient
_log = logging.getLogger("medclipsam.deploy")


def find_bundle(model: Path | None, bundle: Path | None) -> Path | None:
    """The bundle that is asked for; None for a preset alone.

    Args:
        model: the folder of ``--model``: a bundle, or one that holds one bundle.
        bundle: the folder of ``--bundle``.

    Returns:
        What was named, else the bundle at $HOLOSCAN_MODEL_PATH. A container has that variable with or without a model,
        so a folder without one is none.

    Raises:
        InputError: both are named, there is no such folder, no bundle in it or several.
    """
    if model is None or bundle is not None:
        if model is not None:
            raise InputError("give the bundle as --model or as --bundle, not as both")
        return bundle or bundle_in(os.environ.get(MODEL_PATH) or None)  # empty is unset, not the current folder
    if not model.exists():
        raise InputError(f"--model {model} does not exist; give a folder that is or holds one bundle")
    if not model.is_dir():
        raise InputError(f"--model {model} is a file; give a folder that is or holds one bundle (unpack a zip first)")
    found = bundle_in(model)
    if found is None:
        raise InputError(f"--model {model} holds no bundle: neither it nor a folder in it has configs/inference.json")
    return found


@contextlib.contextmanager
def working_folder(folder: Path | None) -> Iterator[None]:
    """Put the temporary files of this process into a folder of its own in a working folder, which is made if need be.

    At the end the folder of its own is gone with all that libraries left there.

    Args:
        folder: of ``--workdir``; None for $HOLOSCAN_WORKDIR, else the system's folder for temporary files stays. A
            container has the variable always, also where its user may not write there: then it stays, too.

    Raises:
        InputError: the named folder is a file, or nothing can be written there.
    """
    named = folder or (Path(os.environ[WORKDIR]) if os.environ.get(WORKDIR) else None)
    if named is None:
        yield
        return
    try:
        check_writable(named)
    except InputError as error:
        if folder is not None:
            raise InputError(str(error).replace("the output folder", "--workdir")) from error
        _log.warning("$%s cannot be written, temporary files go to %s", WORKDIR, tempfile.gettempdir())
        yield
        return
    with tempfile.TemporaryDirectory(prefix="medclipsam-", dir=named.absolute(), ignore_cleanup_errors=True) as own:
        before = tempfile.tempdir, os.environ.get("TMPDIR")
        tempfile.tempdir = os.environ["TMPDIR"] = own
        try:
            yield
        finally:
            tempfile.tempdir, variable = before
            os.environ.pop("TMPDIR")
            if variable is not None:
                os.environ["TMPDIR"] = variable


def check_log_level(level: str | None) -> None:
    """Refuse what is no level, in any case of letters.

    Raises:
        InputError: it is none.
    """
    if level is not None and level.upper() not in LEVELS:
        raise InputError(f"--log-level must be one of {', '.join(LEVELS)}, got {level!r}")


def set_up_logging(level: str | None) -> None:
    """One line a thing on standard error for those who watch the log.

    Args:
        level: of all that is logged; None for INFO of this application and ERROR of the libraries. What quotes headers
            is never logged.
    """
    chosen = level.upper() if level else None
    logging.basicConfig(format="%(asctime)s %(levelname)-7s %(message)s", stream=sys.stderr)
    logging.getLogger().setLevel(chosen or logging.ERROR)
    _log.setLevel(chosen or logging.INFO)
    for name in _QUOTING:
        logging.getLogger(name).setLevel(_SILENT)
