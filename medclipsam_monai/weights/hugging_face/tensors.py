"""The weights of a Hugging Face folder: one safetensors file, several with an index, or a pickle of plain tensors."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object
from medclipsam_monai.base.value_checks import NAME, shown
from medclipsam_monai.weights.state_dicts import StateDict, plain_state_dict, read_state_dict
from medclipsam_monai.weights.tensor_files import read_safetensors

WHOLE = ("model.safetensors", "pytorch_model.bin")
INDEX = "model.safetensors.index.json"
_MOST_SHARDS = 1000


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The files that hold a folder's weights: one, or all parts that an index names, by name.

    Raises:
        InputError: there are none, a part is missing, or the index is damaged or names files elsewhere.
    """
    for name in WHOLE[:1]:
        if (folder / name).is_file():
            return (folder / name,)
    if (folder / INDEX).is_file():
        return tuple(folder / name for name in sorted(set(_weight_map(folder).values())))
    if (folder / WHOLE[1]).is_file():
        return (folder / WHOLE[1],)
    raise InputError(f"{folder} holds no weights; expected {WHOLE[0]}, {INDEX} with its parts, or {WHOLE[1]}")


def read_weights(folder: Path) -> StateDict:
    """All tensors of a folder, by name.

    Raises:
        InputError: as `weight_files`, or a file is damaged or lacks a tensor that the index says it has.
    """
    files = weight_files(folder)
    if files[0].name in WHOLE:
        return read_state_dict(files[0])
    parts = {path.name: read_safetensors(path, "get this part again") for path in files}
    state: dict[str, Tensor] = {}
    for name, file in _weight_map(folder).items():
        if name not in parts[file]:
            raise InputError(f"{folder / file} lacks {name}, which {INDEX} says is in it; get both again")
        state[name] = parts[file][name]
    return plain_state_dict(state, str(folder / INDEX))


def _weight_map(folder: Path) -> dict[str, str]:
    """Tensor names to the names of the files that hold them, which are there."""
    path = folder / INDEX
    names = read_object(path).get("weight_map")
    if type(names) is not dict or not names:
        raise InputError(f"weight_map in {path} must be an object of files by tensor, got {shown(names)}")
    files = sorted(
        {shown(name) for name in names.values() if not NAME.holds(name) or not name.endswith(".safetensors")}
    )
    if files:
        raise InputError(f"weight_map in {path} must name safetensors files beside it, got {files[0]}")
    parts = sorted(set(names.values()))
    if len(parts) > _MOST_SHARDS:
        raise InputError(f"weight_map in {path} names {len(parts)} files; expected at most {_MOST_SHARDS}")
    missing = [name for name in parts if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} lacks {missing[0]}, one of {len(parts)} parts of the weights that {INDEX} names"
            + (f" ({len(missing)} are missing)" if len(missing) > 1 else "")
        )
    return names
