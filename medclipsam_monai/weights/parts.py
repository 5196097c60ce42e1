"""The weights of a folder in the form that transformers writes: one safetensors file, or several with an index."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object
from medclipsam_monai.base.value_checks import NAME, shown

if TYPE_CHECKING:
    from torch import Tensor

WHOLE_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
_AGAIN = "download it again"


def weight_parts(folder: Path) -> list[Path]:
    """The weights files of a folder, in the order of their names.

    Raises:
        InputError: there are none, the index is damaged, or a part that it names is missing.
    """
    if (folder / WHOLE_NAME).is_file():
        return [folder / WHOLE_NAME]
    if not (folder / INDEX_NAME).is_file():
        raise InputError(f"{folder} holds no weights; expected {WHOLE_NAME}, or several files and {INDEX_NAME}")
    parts = [folder / name for name in sorted(set(_places(folder).values()))]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise InputError(
            f"{folder} lacks {missing[0]}, one of {len(parts)} parts that its {INDEX_NAME} names; get the file"
        )
    return parts


def read_parts(folder: Path) -> dict[str, Tensor]:
    """The tensors of all weights files of a folder.

    Raises:
        InputError: a file is missing or damaged, holds anything but floating-point weights, or not what the index says.
    """
    from medclipsam_monai.weights.state_dicts import plain_state_dict
    from medclipsam_monai.weights.tensor_files import read_safetensors

    parts = weight_parts(folder)
    state: dict[str, Tensor] = {}
    for part in parts:
        state |= plain_state_dict(read_safetensors(part, _AGAIN), str(part))
    if parts[0].name != WHOLE_NAME:
        lost = sorted(_places(folder).keys() - state.keys())
        if lost:
            raise InputError(f"{folder}: no part holds {shown(lost[0])}, which {INDEX_NAME} names; {_AGAIN}")
    return state


def _places(folder: Path) -> dict[str, str]:
    """Name of a tensor -> name of the file it is in, from the index."""
    index = folder / INDEX_NAME
    places = read_object(index).get("weight_map")
    if type(places) is not dict or not places:
        raise InputError(f"{index} has no weight_map of tensors and files; {_AGAIN}")
    for name in places.values():
        if not NAME.holds(name) or not name.endswith(".safetensors"):
            raise InputError(f"{index} names the file {shown(name)}; expected plain names that end in .safetensors")
    return places
