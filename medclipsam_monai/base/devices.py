"""One ``device`` setting for the whole package; torch is imported by what needs it."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from medclipsam_monai.base.errors import InputError

if TYPE_CHECKING:
    import torch


def check_device_name(name: str) -> None:
    """Refuse a name that no device has; whether the device is there says `resolve_device`.

    Raises:
        InputError: with the names that there are.
    """
    if not re.fullmatch(r"(auto|cpu|cuda|mps|xpu)(:\d+)?", name):
        raise InputError(f"device {name!r} is not available here; expected auto, cpu, cuda or mps")


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The device asked for, and no other.

    Args:
        device: "auto" (the first of cuda, mps and cpu that is there), or a name such as "cpu", "cuda:1", "mps".

    Raises:
        InputError: if the device is not there.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        wanted = torch.device(device)
        torch.empty(1, device=wanted)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device {str(device)!r} is not available here; expected auto, cpu, cuda or mps") from error
    return wanted


def half_precision(device: str | torch.device) -> torch.dtype | None:
    """The half-precision type that a device computes in, or None where it would only be slower.

    A CPU without bfloat16 units emulates bfloat16, far slower than it computes in float32.
    """
    import torch

    kind = torch.device(device).type
    if kind == "mps":
        return torch.float16
    if kind == "cpu":
        ask = getattr(torch.cpu, "get_capabilities", dict)  # an older torch cannot tell, and float32 is never wrong
        units: dict[str, bool] = ask()
        return torch.bfloat16 if any(units.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")) else None
    return torch.bfloat16


def autocast(device: str | torch.device, enabled: bool = True) -> AbstractContextManager[object]:
    """torch.autocast in `half_precision`; float32 where a device has none, or where `enabled` is false."""
    import torch

    dtype = half_precision(device)
    if not enabled or dtype is None:
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=dtype)
