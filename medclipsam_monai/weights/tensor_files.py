"""Files of tensors, opened without running what is in them, and what their tensors may be.

Every weights file of this package is opened here: PyTorch's own files as plain tensors (``weights_only=True``), and
safetensors. A network gets floating-point numbers, all finite, as many as the file holds.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.base.quiet import silenced
from medclipsam_monai.base.value_checks import shown

_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_WHOLE = (torch.int64, torch.int32)
_COUNTERS = ("position_ids", "num_batches_tracked")  # the only whole numbers that networks keep
_MOST_AXES, _LONGEST_NAME = 8, 500
_LARGEST = torch.finfo(torch.float32).max  # what float64 may hold and float32 cannot
NOTES_OF_TRAINING = (
    "argparse.Namespace",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
)
"""What trainings keep beside the weights, options and best figures, by the names that pickles have for it."""
_DEFAULTDICT = "collections.defaultdict"
OPTIMIZERS = ("torch.optim.adam.Adam", "torch.optim.adamw.AdamW", "torch.optim.sgd.SGD", _DEFAULTDICT, "builtins.dict")
"""An optimizer as such beside the weights, likewise."""


class _LeftOut:
    """Stands in a pickle's content where something was left out: takes all that it was made of, and keeps nothing."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


def _plain_dict(*_: object) -> dict[Any, Any]:
    """Stands for a `defaultdict`, which PyTorch's reader fills only where it is a plain one."""
    return {}


def read_torch_file(path: Path, what: str, remedy: str, mmap: bool = False, leave_out: Collection[str] = ()) -> Any:
    """The content of a file that ``torch.save`` wrote; no code in it is run.

    Args:
        path: of the file.
        what: what it should be, as an error calls it: "weights file".
        remedy: what to do about a file that is not whole, said at the end of the error.
        mmap: leave the tensors on disk until they are read.
        leave_out: names of classes and functions in the file that are passed over, such as `NOTES_OF_TRAINING`: they
            are not imported, and what they would make is not made.

    Raises:
        InputError: there is no such file, it is damaged, or opening it could run code.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a {what}")
    if not path.is_file():
        raise InputError(f"{path}: there is no such {what}")
    try:
        _check_not_packed(path)
        stand_ins: list[Any] = [(_plain_dict if name == _DEFAULTDICT else _LeftOut, name) for name in leave_out]
        # The warnings are of TorchScript's archives, which are refused.
        passed_over = torch.serialization.safe_globals(stand_ins) if stand_ins else nullcontext()
        with silenced(dropped=(UserWarning,)), passed_over:
            return torch.load(str(path), map_location="cpu", weights_only=True, mmap=mmap)
    except InputError:
        raise
    except Exception as error:  # damaged bytes make the reader of pickles fail in any way there is
        if isinstance(error, pickle.UnpicklingError) and _is_pickle(path):
            raise InputError(
                f"{path} is refused: opening it could run code; expected a {what} of plain tensors"
            ) from error
        raise InputError(f"{path} is not a whole {what}; {remedy}") from error


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as PyTorch's do, in either form; a text does not."""
    with path.open("rb") as file:
        return file.read(2)[:1] == b"\x80" or zipfile.is_zipfile(path)


def read_safetensors(path: Path, remedy: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Args:
        path: of the file, which is there.
        remedy: what to do about a file that is not whole, said at the end of the error.

    Raises:
        InputError: it is damaged.
    """
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # SafetensorError, the system's, and what an unknown type of number raises
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is not a whole safetensors file ({reason}); {remedy}") from error


def check_forms(tensors: Mapping[str, Tensor], source: str) -> None:
    """Make sure that tensors are plain floating-point numbers, stored as many as their shapes say.

    Raises:
        InputError: naming the first that is not.
    """
    for name, tensor in tensors.items():
        if not name.isprintable() or len(name) > _LONGEST_NAME or tensor.ndim > _MOST_AXES:
            raise InputError(
                f"{source}: {shown(name)} has {tensor.ndim} dimensions; expected tensors of at most {_MOST_AXES} and "
                f"names of at most {_LONGEST_NAME} plain characters"
            )
        whole = name.endswith(_COUNTERS) and tensor.dtype in _WHOLE
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu" or tensor.is_nested:
            raise InputError(f"{source}: {name} is no plain tensor; expected numbers stored one after the other")
        if tensor.dtype not in _FLOATS and not whole:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise InputError(f"{source}: {name} holds {kind}; expected float32, float16, bfloat16 or float64 weights")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise InputError(f"{source}: {name} has shape {tuple(tensor.shape)} and holds fewer numbers than that")


def check_finite(tensors: Mapping[str, Tensor], source: str) -> None:
    """Make sure that weights are finite, also as float32.

    Raises:
        InputError: naming the first that is not.
    """
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        low, high = (float(limit) for limit in tensor.detach().aminmax())  # one pass, NaN if there is any
        if not -_LARGEST <= low <= high <= _LARGEST:
            raise InputError(f"{source}: {name} holds NaN or infinity; expected finite weights, get the file again")


def _check_not_packed(path: Path) -> None:
    """PyTorch stores tensors as they are; a compressed file could be a thousand times larger in memory."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise InputError(f"{path} is compressed; expected a file as torch.save writes it")
