"""The folder of a bundle: whether there is one, before anything of it is loaded."""

from __future__ import annotations

from pathlib import Path

from medclipsam_monai.base.errors import InputError

MODEL_PATH = "HOLOSCAN_MODEL_PATH"
"""The variable that says where a container has its models."""
CONFIG = Path("configs", "inference.json")
"""Where a bundle says how it infers."""
METADATA = Path("configs", "metadata.json")
"""Where a bundle says what it is."""


def check_bundle(folder: Path) -> None:
    """Refuse what is no bundle's folder.

    Raises:
        InputError: it has no configuration.
    """
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder} is no bundle: it has no {CONFIG}")


def bundle_in(folder: str | Path | None) -> Path | None:
    """The bundle at a container's model path: the folder itself, or the one bundle in it; None where there is none.

    Raises:
        InputError: there are several.
    """
    if folder is None or not Path(folder).is_dir():
        return None
    found = [path for path in (Path(folder), *sorted(Path(folder).iterdir())) if (path / CONFIG).is_file()]
    if len(found) > 1:
        raise InputError(f"the model path holds {len(found)} bundles ({', '.join(p.name for p in found)}); name one")
    return found[0] if found else None
