"""An ensemble as one plain state dict: what ``models/model.pt`` of the weak supervision bundle holds.

Names and tensors and nothing around them, so MONAI's bundle loader, MONAI Label, MONAI Deploy and ignite take it as it
is: ``members.0.encoder...`` are the weights of the first checkpoint, and ``plan`` holds nnU-Net's plans, the labels and
the checkpoints' names as the bytes of a JSON text. A file is mapped into memory, and a member read when it is its turn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.files import write_atomically
from medclipsam_monai.base.json_files import parse_object
from medclipsam_monai.base.value_checks import NAME, shown
from medclipsam_monai.weak.ensemble.members import Member, own_tensors
from medclipsam_monai.weak.nnunet.network_plan import NetworkPlan
from medclipsam_monai.weights.tensor_files import read_torch_file

_FORMAT = "medclipsam_monai checkpoint ensemble"
_FORMAT_VERSION = 2
_EXPECTED = "expected a file that CheckpointEnsemble.export wrote"
_PLAN, _MEMBERS = "plan", "members"
_MOST_BYTES, _MOST_MEMBERS = 16 << 20, 10_000


def read_ensemble_file(path: Path) -> tuple[NetworkPlan, tuple[Member, ...]]:
    """The ensemble in a file that `write_ensemble_file` wrote.

    Raises:
        InputError: the file is missing, damaged, of another kind, or would run code.
    """
    content = read_torch_file(path, "model file", "copy it again or train again", mmap=True)
    return ensemble_in(content, str(path))


def ensemble_in(state: object, source: str) -> tuple[NetworkPlan, tuple[Member, ...]]:
    """The ensemble in a state dict; its tensors are kept as they are, not copied.

    Args:
        state: what `ensemble_state` makes and the file holds.
        source: what it is called in errors.

    Raises:
        InputError: it is of another kind, or something in it is missing, unknown or not as it is written.
    """
    if isinstance(state, Mapping) and state.get("format") == _FORMAT:
        raise InputError(
            f"{source}: has the form of an earlier version of this package; run the training's configuration again, "
            "which goes on from the finished training and writes the file anew"
        )
    if not isinstance(state, Mapping) or not isinstance(state.get(_PLAN), Tensor):
        raise InputError(f"{source}: is no exported ensemble; {_EXPECTED}")
    head = _head(state[_PLAN], source)
    names = head[_MEMBERS]
    if not isinstance(names, list) or len(names) > _MOST_MEMBERS or not all(map(NAME.holds, names)):
        raise InputError(f"{source}: has members that are no names; export the ensemble again")
    if not names:
        raise InputError(f"{source}: holds no member; export the ensemble again")
    plan = NetworkPlan(
        head["plans"], head["dataset_json"], head["configuration"], _axes(head["mirroring_axes"], source)
    )
    weights = _by_member(state, len(names), source)
    return plan, tuple(Member(name, partial(dict, own)) for name, own in zip(names, weights, strict=True))


def _head(plan: Tensor, source: str) -> dict[str, Any]:
    """The JSON object in the tensor of bytes."""
    if plan.dtype != torch.uint8 or plan.ndim != 1 or plan.layout != torch.strided or len(plan) > _MOST_BYTES:
        raise InputError(f"{source}: its plan is no text; {_EXPECTED}")
    try:
        text = bytes(plan.cpu().numpy()).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{source}: its plan is no text; {_EXPECTED}") from error
    head = parse_object(text, f"the plan in {source}")
    if head.get("format") != _FORMAT:
        raise InputError(f"{source}: is no exported ensemble; {_EXPECTED}")
    version = head.get("format_version")
    if type(version) is not int or version != _FORMAT_VERSION:
        raise InputError(
            f"{source}: has format version {shown(version)}, this package reads {_FORMAT_VERSION}; "
            "update the package or export the ensemble again"
        )
    missing = [key for key in ("plans", "dataset_json", "configuration", "mirroring_axes", _MEMBERS) if key not in head]
    if missing:
        raise InputError(f"{source}: lacks {missing[0]}; export the ensemble again")
    return head


def _axes(given: object, source: str) -> tuple[int, ...]:
    if not isinstance(given, list):
        raise InputError(f"{source}: mirroring axes must be a list, got {shown(given)}")
    return tuple(given)


def _by_member(state: Mapping[Any, Any], count: int, source: str) -> list[dict[str, Any]]:
    weights: list[dict[str, Any]] = [{} for _ in range(count)]
    places = {str(number): own for number, own in enumerate(weights)}
    for key, value in state.items():
        if key == _PLAN:
            continue
        start, _, rest = key.partition(".") if isinstance(key, str) else ("", "", "")
        number, _, name = rest.partition(".")
        if start != _MEMBERS or number not in places or not name:
            raise InputError(f"{source}: {shown(key)} is of none of its {count} members; export the ensemble again")
        places[number][name] = value
    return weights


def ensemble_state(plan: NetworkPlan, members: Sequence[Member], network: nn.Module) -> dict[str, Tensor]:
    """An ensemble as a state dict, see `ensemble_in`; its weights are the members' own tensors, still on disk.

    Args:
        plan: how to prepare images and build the network.
        members: the checkpoints.
        network: the network they are of; each of its weights is there once.
    """
    keys = list(own_tensors(network))
    head = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "plans": plan.plans,
        "dataset_json": plan.dataset_json,
        "configuration": plan.configuration,
        "mirroring_axes": list(plan.mirroring_axes),
        _MEMBERS: [member.name for member in members],
    }
    state = {_PLAN: torch.frombuffer(bytearray(json.dumps(head).encode()), dtype=torch.uint8)}
    for number, member in enumerate(members):
        weights = member.weights()
        state |= {f"{_MEMBERS}.{number}.{key}": weights[key] for key in keys}
    return state


def write_ensemble_file(
    path: Path, plan: NetworkPlan, members: Sequence[Member], network: nn.Module, dtype: torch.dtype
) -> Path:
    """Write an ensemble as one file that opens with ``weights_only=True``; all weights are in memory meanwhile.

    Args:
        path: where to.
        plan: how to prepare images and build the network.
        members: the checkpoints.
        network: the network they are of; each of its weights is written once.
        dtype: type of the weights in the file, such as torch.float16.

    Raises:
        InputError: the file cannot be written, or a weight is too large for the type.
    """
    keys = list(own_tensors(network))
    converted = [Member(member.name, partial(dict, _in_type(member, keys, dtype))) for member in members]
    state = ensemble_state(plan, converted, network)
    return write_atomically(path, lambda part: torch.save(state, part))


def _in_type(member: Member, keys: Sequence[str], dtype: torch.dtype) -> dict[str, Tensor]:
    weights = member.weights()
    found = {key: weights[key].to(dtype) if weights[key].is_floating_point() else weights[key] for key in keys}
    if any(value.isinf().any() for value in found.values()):
        raise InputError(f"{member.name}: a weight is too large for {dtype}; export as torch.float32")
    return found
