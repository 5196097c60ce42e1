"""Checks what the metrics are given: masks that hold only 0 and 1, of one shape, and a spacing that fits them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.config import NdarrayOrTensor
from monai.utils import convert_to_tensor
from torch import Tensor

from medclipsam_monai.base.errors import InputError

Spacing = float | Sequence[float]


def plain(array: NdarrayOrTensor, name: str) -> Tensor:
    """A detached tensor on the CPU without metadata, (K, H, W) or (K, H, W, D).

    Args:
        array: what came.
        name: what to call it in the error.

    Raises:
        InputError: the shape is another, or holds nothing.
    """
    tensor: Tensor = convert_to_tensor(array, track_meta=False).detach().cpu()
    if tensor.ndim not in (3, 4) or tensor.numel() == 0:
        raise InputError(f"{name} must have shape (K, H, W) or (K, H, W, D), got {tuple(tensor.shape)}")
    return tensor


def binary(array: NdarrayOrTensor, name: str) -> Tensor:
    """`plain` for a mask: bool, and nothing but 0 and 1 in it.

    A probability or a mask saved as 0 and 255 would otherwise count as foreground wherever it is not exactly 0.

    Raises:
        InputError: another shape or another value.
    """
    tensor = plain(array, name)
    if tensor.dtype == torch.bool:
        return tensor
    other = tensor[(tensor != 0) & (tensor != 1)]
    if other.numel():
        raise InputError(f"{name} must hold only 0 and 1, got {other[0].item():g}: threshold it first")
    return tensor.bool()


def same_shape(first: Tensor, second: Tensor, names: str) -> None:
    """Raises:
    InputError: the shapes differ.
    """
    if first.shape != second.shape:
        raise InputError(f"{names} must have one shape, got {tuple(first.shape)} and {tuple(second.shape)}")


def spacing_values(spacing: Spacing | None, dims: int) -> tuple[float, ...]:
    """The spacing along each of `dims` axes; one number stands for all axes, None for 1.

    Raises:
        ValueError: another number of values, or a value that is not positive and finite.
    """
    given = np.ravel(1.0 if spacing is None else np.asarray(spacing, dtype=float))
    values = given.repeat(dims) if len(given) == 1 else given
    if len(values) != dims or not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError(f"spacing must be 1 or {dims} positive numbers, got {given.tolist()}")
    return tuple(values.tolist())
