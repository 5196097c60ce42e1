"""The members of an ensemble on disk, as a training leaves them; all of them in one file are `ensemble_file`.

Files are opened as plain tensors and mapped into memory, never run: a member's weights are read from disk when it is
its turn, so that thirty of them take no more memory than one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.json_files import read_object
from medclipsam_monai.base.value_checks import NAME, integer
from medclipsam_monai.weak.folders import WorkFolders
from medclipsam_monai.weak.nnunet.network_plan import NetworkPlan
from medclipsam_monai.weights.tensor_files import check_finite, check_forms, read_torch_file

_AGAIN = "copy it again or train again"
_TRAIN = "train first, or give the folder of a finished training"


@dataclass(frozen=True)
class Member:
    """One checkpoint.

    Attributes:
        name: the file it came from.
        weights: opens its weights: names and tensors, mapped from the file.
    """

    name: str
    weights: Callable[[], Mapping[str, Tensor]]


def own_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a network, each once, under its first name.

    nnU-Net's state dicts hold the encoder twice and each layer under two names.
    """
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def check_weights(network: nn.Module, weights: object, name: str) -> None:
    """Make sure that weights are of this very network.

    Raises:
        InputError: names or shapes differ, or a weight is no finite floating-point number.
    """
    if not isinstance(weights, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in weights.items()
    ):
        raise InputError(f"{name}: holds no weights; expected names and tensors")
    check_forms(weights, name)
    expected = own_tensors(network)
    missing = [key for key in expected if key not in weights]
    unknown = set(weights) - set(network.state_dict())
    if missing or unknown:
        example = missing[0] if missing else min(unknown)
        raise InputError(
            f"{name}: is of another network than the plans say ({len(missing)} weights missing and {len(unknown)} "
            f"unknown, such as {example}); take the checkpoint and its plans from one training"
        )
    for key, value in expected.items():
        if weights[key].shape != value.shape:
            raise InputError(
                f"{name}: {key} has shape {tuple(weights[key].shape)}, the plans say {tuple(value.shape)}; "
                "take the checkpoint and its plans from one training"
            )
    check_finite({key: weights[key] for key in expected}, name)


def load_weights(network: nn.Module, member: Member) -> None:
    """Put a member's weights into the network, in the network's types and on its device.

    On the CPU a float32 file is not copied: the network reads it in place.
    """
    weights = member.weights()
    for key, tensor in own_tensors(network).items():
        tensor.data = weights[key].to(device=tensor.device, dtype=tensor.dtype)


def _open_checkpoint(path: Path) -> Mapping[str, Tensor]:
    content = read_torch_file(path, "model file", _AGAIN, mmap=True)
    if not isinstance(content, Mapping) or "network_weights" not in content:
        raise InputError(f"{path}: is no checkpoint of nnU-Net; expected an entry network_weights")
    weights: Mapping[str, Tensor] = content["network_weights"]
    return weights


def read_training(folders: WorkFolders) -> tuple[NetworkPlan, tuple[Member, ...]]:
    """The ensemble that a cyclic training left.

    Raises:
        InputError: the training is not finished, or one of its checkpoints is missing or damaged.
    """
    paths = _listed_checkpoints(folders)
    plans, dataset_json = (read_object(folders.results / name, _TRAIN) for name in ("plans.json", "dataset.json"))
    axes = _mirrored_axes(plans, folders.configuration)
    plan = NetworkPlan(plans, dataset_json, folders.configuration, axes)
    return plan, tuple(Member(path.name, partial(_open_checkpoint, path)) for path in paths)


def _listed_checkpoints(folders: WorkFolders) -> list[Path]:
    """Files of all members, or an error that names the one that is not there."""
    listing = read_object(folders.members_json, _TRAIN)
    try:
        entries = [(entry["file"], entry["cycle"]) for entry in listing["members"]]
        expected = listing["expected"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{folders.members_json}: is no list of members ({error}); train again") from error
    count = integer(0, 10**6)
    if not count.holds(expected) or not all(NAME.holds(file) and count.holds(cycle) for file, cycle in entries):
        raise InputError(f"{folders.members_json}: is no list of members; expected file names and cycles, train again")
    paths = [folders.fold / file for file, _ in entries]
    cycles = [cycle + 1 for _, cycle in entries]
    there = sum(path.is_file() for path in paths)
    for path, cycle in zip(paths, cycles, strict=True):
        if not path.is_file():
            raise InputError(
                f"{path}: this checkpoint of cycle {cycle} is missing ({there} of {expected} are there); "
                "put it back, or train again"
            )
    if there < expected or there == 0:
        raise InputError(
            f"{folders.fold}: holds {there} of {expected} checkpoints; start the training again, it goes on where "
            "it stopped"
        )
    return paths


def _mirrored_axes(plans: Mapping[str, Any], configuration: str) -> tuple[int, ...]:
    """nnU-Net's trainer mirrors along every axis of the patch."""
    try:
        return tuple(range(len(plans["configurations"][configuration]["patch_size"])))
    except (KeyError, TypeError) as error:
        raise InputError(f"the plans have no configuration {configuration!r} with a patch size") from error
