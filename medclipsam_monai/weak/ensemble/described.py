"""What a bundle's metadata.json says of the ensemble in its ``models/model.pt``.

MONAI Label and other hosts take the names of classes from there, not from the model, so the two must agree.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object, write_json
from medclipsam_monai.base.value_checks import shown
from medclipsam_monai.weak.ensemble.ensemble_file import read_ensemble_file

_SIDE = "16*n"
_COMMAND = "python -m monai.bundle run describe --config_file configs/train.json"


def metadata_of(model_file: str | Path) -> Path | None:
    """The metadata.json of the bundle whose ``models/model.pt`` a file is; None for any other file."""
    path = Path(model_file).absolute()
    metadata = path.parent.parent / "configs" / "metadata.json"
    return metadata if path.parts[-2:] == ("models", "model.pt") and metadata.is_file() else None


def describe_ensemble(model_file: str | Path) -> Path | None:
    """Write classes and shapes of the ensemble in a bundle's ``models/model.pt`` into its metadata.json.

    Args:
        model_file: of the ensemble; one that is no bundle's model file is described nowhere.

    Returns:
        The metadata.json, or None where there is none.

    Raises:
        InputError: a file cannot be read or written.
    """
    path = metadata_of(model_file)
    if path is None:
        return None
    plan, _ = read_ensemble_file(Path(model_file))
    metadata = read_object(path)
    image, pred = _tensors(metadata, path)
    before = json.dumps([image, pred])
    sides = [_SIDE] * (2 if plan.of_pictures else 3)
    colours = {"0": "grey"} if plan.channels == 1 else {"0": "red", "1": "green", "2": "blue"}
    image |= {"num_channels": plan.channels, "spatial_shape": sides, "channel_def": colours}
    pred |= {"num_channels": len(plan.names), "spatial_shape": sides, "channel_def": _channel_def(plan.names)}
    if json.dumps([image, pred]) == before:
        return path  # the ensemble that ships is described in more words than can be told from its plans
    metadata |= {
        "data_source": "Images of the user of this bundle, with masks made from a text or submitted by people",
        "label_classes": ", ".join(f"{number} {name}" for number, name in enumerate(plan.names)),
        "pred_classes": f"{len(plan.names)} channels: mean probabilities of {', '.join(plan.names)}",
    }
    return write_json(metadata, path)


def check_described(model_file: str | Path, names: Sequence[str]) -> None:
    """Compare the classes of an ensemble with those that hosts show for its file.

    Args:
        model_file: where it was read from.
        names: its classes, the background first.

    Raises:
        InputError: it is a bundle's model file, and the bundle's metadata.json names other classes.
    """
    path = metadata_of(model_file)
    if path is None:
        return
    told = _tensors(read_object(path), path)[1].get("channel_def")
    if told is not None and told != _channel_def(names):
        listed = ", ".join(map(str, told.values())) if isinstance(told, dict) else told
        raise InputError(
            f"{path} says that the classes are {shown(listed)}, models/model.pt has {shown(', '.join(names))}; "
            f"in the bundle's folder run: {_COMMAND}"
        )


def _tensors(metadata: dict[str, Any], path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What it says of the image and of the prediction."""
    found: list[Any] = []
    for group, name in (("inputs", "image"), ("outputs", "pred")):
        inner: Any = metadata
        for key in ("network_data_format", group, name):
            inner = inner.get(key) if isinstance(inner, dict) else None
        found.append(inner)
    image, pred = found
    if not isinstance(image, dict) or not isinstance(pred, dict):
        raise InputError(f"{path}: network_data_format must describe inputs image and outputs pred, as it was shipped")
    return image, pred


def _channel_def(names: Sequence[str]) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names)}
