"""What the configurations of this package's MONAI bundles ask: where they lie, which weights run, which version."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.value_checks import shown
from medclipsam_monai.version import __version__
from medclipsam_monai.weights.registry import weight_hash

PACKAGE = "medclipsam-monai"
_RELEASE = re.compile(r"(\d{1,6})\.(\d{1,6})(?:[.+a-z-][\w.+-]*)?")
_log = logging.getLogger(__name__)


def bundle_folder() -> str:
    """Folder of the bundle whose configuration is being evaluated; "." where a program gives none.

    MONAI tells a configuration nothing of its own place, and its usual ``"bundle_root": "."`` is right in one working
    directory only; ``monai.bundle.load`` calls from any. The workflow that evaluates the configuration knows, and so
    does MONAI Deploy's operator, as its ``bundle_path``: one of them is a caller of this function.
    """
    from monai.bundle import ConfigWorkflow

    frame = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, ConfigWorkflow):
            return str(caller.config_root_path.parent)
        named = isinstance(getattr(type(caller), "bundle_path", None), property)
        told = getattr(caller, "bundle_path", None) if named else None
        if isinstance(told, str | Path) and (Path(told) / "configs").is_dir():
            return str(told)
        frame = frame.f_back  # type: ignore[assignment]
    return "."


def chosen_checkpoint(given: str | Path | None, there: str | Path, *options: object) -> Path | None:
    """The checkpoint whose weights run, if it is a checkpoint's.

    Args:
        given: a checkpoint that the user names; it must be there.
        there: one that lies in the bundle; it is taken if nothing else is asked for.
        options: other weights that the user may have named; None where not.

    Returns:
        The file, or None for the weights that the other options name, or their defaults.

    Raises:
        InputError: the named checkpoint is not there.
    """
    if given is not None:
        if not Path(given).is_file():
            raise InputError(f"ckpt_path: there is no file {given}; give a checkpoint, or leave it out")
        return Path(given)
    named = any(option is not None for option in options)
    return Path(there) if not named and Path(there).is_file() else None


def log_weights(log: logging.Logger, files: Mapping[str, str | Path]) -> None:
    """Say in the log which weights run: name and SHA-256 of each network's file.

    Args:
        log: where; nothing is hashed if it drops the line.
        files: of each network, as `resolve` returns them.
    """
    if log.isEnabledFor(logging.INFO):
        for role, file in files.items():
            log.info("weights of %s: %s, SHA-256 %s", role, Path(file).name, weight_hash(file))


def check_bundle_version(metadata: Mapping[str, Any]) -> None:
    """Compare the version of this package that a bundle was made for with the installed one.

    Args:
        metadata: the bundle's metadata.json; without a version in it nothing is compared.

    Raises:
        InputError: the bundle was made for a newer major or minor version. Any other difference is a line in the log.
    """
    packages = metadata.get("required_packages_version")
    wanted = packages.get(PACKAGE) if isinstance(packages, Mapping) else None
    if wanted is None or wanted == __version__:
        return
    numbers = [_RELEASE.fullmatch(str(version)) for version in (wanted, __version__)]
    if numbers[0] is None:
        raise InputError(f"metadata.json: {PACKAGE} must be a version such as {__version__}, got {shown(wanted)}")
    made_for, installed = (tuple(map(int, found.groups())) for found in numbers if found)
    if made_for > installed:
        raise InputError(
            f"this bundle was made for {PACKAGE} {wanted}, and {__version__} is installed: "
            f"pip install --upgrade {PACKAGE}"
        )
    _log.warning("this bundle was made for %s %s, and %s is installed", PACKAGE, wanted, __version__)
